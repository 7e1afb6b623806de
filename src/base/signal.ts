/** A one-shot event that many may wait for, and whose state can be asked for without waiting. */
export class Signal<T = void> {
  private settled = false;
  private resolve!: (value: T) => void;
  readonly promise: Promise<T> = new Promise((resolve) => {
    this.resolve = resolve;
  });

  get fired(): boolean {
    return this.settled;
  }

  fire(value: T): void {
    this.settled = true;
    this.resolve(value);
  }
}

/** Runs `work` over the items with at most `limit` at a time; the first failure stops new ones and is thrown. */
export async function forEachLimit<T>(
  items: Iterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const iterator = items[Symbol.iterator]();
  let failure: { error: unknown } | undefined;
  const worker = async () => {
    for (let next = iterator.next(); !next.done && failure === undefined; next = iterator.next()) {
      try {
        await work(next.value);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: limit }, worker));
  if (failure !== undefined) throw failure.error;
}
