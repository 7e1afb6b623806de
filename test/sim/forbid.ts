/**
 * A simulated cluster that asks the real world for time or chance would not repeat itself: in the processes that run
 * seeds, asking is an error at the place that asks.
 */
export function forbidTimeAndChance(): void {
  Math.random = forbidden('Math.random');
  Date.now = forbidden('Date.now');
  process.hrtime.bigint = forbidden('process.hrtime.bigint');
  globalThis.setTimeout = forbidden('setTimeout') as unknown as typeof setTimeout;
  globalThis.setInterval = forbidden('setInterval') as unknown as typeof setInterval;
}

function forbidden(name: string): () => never {
  return () => {
    throw new Error(
      `${name} was called inside a simulation: use the Clock and the Random that the node was given`,
    );
  };
}
