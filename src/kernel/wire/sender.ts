type Frames = (Buffer | string)[];

/** A socket that can send. ZeroMQ allows one `send` at a time and fails on the next before the first is done. */
interface Sending {
  send(frames: Frames): Promise<void>;
}

/** Sends in order and one at a time. `done` resolves when everything handed over so far is sent. */
export class Sender {
  private last: Promise<void> = Promise.resolve();

  constructor(private readonly socket: Sending) {}

  send(frames: Frames): void {
    // A socket closed at shutdown is the one reason a send fails, and nobody is left to tell.
    this.last = this.last.then(() => this.socket.send(frames)).catch(() => {});
  }

  get done(): Promise<void> {
    return this.last;
  }
}
