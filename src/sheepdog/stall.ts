/** Fewer bytes than this, in all the time that one is given, are no movement: a drip holds up others too. */
const MOVED_BYTES_MIN = 64 * 1024;

/** What a connection that holds bytes waits for: its client's bytes, its client's reading, or something of ours. */
export type WaitsFor = 'payload' | 'reader' | 'us';

/**
 * Tells a stalled client from a slow one and from a slow cluster. It costs nothing until somebody looks, which is when
 * others wait for bytes.
 */
export class Stall {
  private waitsFor: WaitsFor = 'us';
  private movedBytes = 0;
  private unsentBytes = 0;
  private sinceMs = 0;

  /**
   * For how long nothing has moved, as far as the looks tell. `movedBytes` only rises, with what has come from the
   * client or has wholly left for it; `unsentBytes` is what the system still has to take of the answer in front.
   */
  look(nowMs: number, waitsFor: WaitsFor, movedBytes: number, unsentBytes: number): number {
    const moved = movedBytes - this.movedBytes + Math.max(0, this.unsentBytes - unsentBytes);
    if (waitsFor === 'us' || waitsFor !== this.waitsFor || moved >= MOVED_BYTES_MIN) {
      this.waitsFor = waitsFor;
      this.movedBytes = movedBytes;
      this.unsentBytes = unsentBytes;
      this.sinceMs = nowMs;
    }
    return nowMs - this.sinceMs;
  }

  /** Forgets what was seen before. */
  reset(): void {
    this.waitsFor = 'us';
  }
}
