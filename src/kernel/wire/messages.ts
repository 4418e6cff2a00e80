/** A request of the front end, named by a number so that threads need not pass its header around. */
export type Token = number;

export interface ExecuteRequest {
  code: string;
  silent: boolean;
  storeHistory: boolean;
  userExpressions: Record<string, string>;
  allowStdin: boolean;
  stopOnError: boolean;
}

/** From the thread that runs cells to the thread that holds the sockets. */
export type ToWire =
  | { kind: 'stream'; token: Token; name: 'stdout' | 'stderr'; text: string }
  | { kind: 'publish'; token: Token; type: string; content: object }
  | { kind: 'reply'; token: Token; content: object }
  | { kind: 'ask'; token: Token; prompt: string; password: boolean }
  | { kind: 'interrupt-seen'; sequence: number }
  | { kind: 'close' };

/** From the thread that holds the sockets to the thread that runs cells. */
export type FromWire =
  | { kind: 'ready' }
  | { kind: 'execute'; token: Token; request: ExecuteRequest }
  | { kind: 'answer'; value: string }
  | { kind: 'interrupt'; sequence: number }
  | { kind: 'shutdown' };

/** Places in the memory both threads share. */
export const shared = {
  /** Number of the interrupt that emitted loops should honour, or 0. */
  interrupt: 0,
  /** Stream messages on their way to the wire. */
  backlog: 1,
  /** 1 once the sockets are closed. */
  closed: 2,
  /** 1 while execution may be terminated from outside: V8's inspector stands below the cell and catches it. */
  terminable: 3,
  length: 4,
} as const;
