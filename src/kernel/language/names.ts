/** Names the emitted code of cells reaches the kernel by. They cannot be redeclared. */
export const runtimeName = '__notebook__';
export const interruptName = '__interrupt__';
