/** What the engine uses of WebAssembly; the compiler's own declarations come only with those of a browser. */
declare namespace WebAssembly {
  class Module {
    constructor(bytes: Uint8Array);
  }
  class Memory {
    constructor(descriptor: { initial: number; maximum: number; shared: boolean });
    readonly buffer: SharedArrayBuffer;
    grow(pages: number): number;
  }
  class Global {
    value: number;
  }
  interface ModuleImports {
    memory: Memory;
    [name: string]: Memory | (() => unknown);
  }
  class Instance {
    constructor(module: Module, imports: { env: ModuleImports });
    readonly exports: Record<string, unknown>;
  }
  function validate(bytes: Uint8Array): boolean;
}
