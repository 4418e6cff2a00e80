/** The part of jstat that this project calls; the package ships no types. */
declare module 'jstat' {
  interface Distribution<P extends number[]> {
    cdf(x: number, ...parameters: P): number;
    inv(p: number, ...parameters: P): number;
  }
  const jstat: {
    jStat: {
      normal: Distribution<[mean: number, std: number]>;
      studentt: Distribution<[degrees: number]>;
      noncentralt: { cdf(x: number, degrees: number, noncentrality: number): number };
    };
  };
  export default jstat;
}
