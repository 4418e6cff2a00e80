/**
 * Declarations every cell sees. TypeScript 5.0, which tslab brings, lacks the array methods of ECMAScript 2023 that Node 20
 * has; and the kernel gives cells a `require` that resolves from the notebook's folder.
 */
export const ambient = `
declare global {
  interface Array<T> {
    toReversed(): T[];
    toSorted(compareFn?: (a: T, b: T) => number): T[];
    toSpliced(start: number, deleteCount?: number, ...items: T[]): T[];
    with(index: number, value: T): T[];
  }
  interface ReadonlyArray<T> {
    toReversed(): T[];
    toSorted(compareFn?: (a: T, b: T) => number): T[];
    toSpliced(start: number, deleteCount?: number, ...items: T[]): T[];
    with(index: number, value: T): T[];
  }
}
`;
