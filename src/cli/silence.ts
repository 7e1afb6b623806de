/** Long enough that an answer which only takes its time is not announced. */
const SILENCE_MS = 5000;

/** Tells once that nothing has been heard for a while, so that nobody takes waiting for being done. */
export class Silence {
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly tell: (afterMs: number) => void,
    private readonly afterMs = SILENCE_MS,
  ) {
    this.heard();
  }

  /** A sign of life: the wait begins anew. */
  heard(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.tell(this.afterMs), this.afterMs);
    // Whoever waits for the answer keeps the process alive, not this.
    this.timer.unref();
  }

  end(): void {
    clearTimeout(this.timer);
  }
}
