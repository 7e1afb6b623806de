/** Pairs of one change and its flush in a row, after which the next change is taken for the first half of one more. */
const PAIRS_MIN = 4;
/** A larger change goes straight to the objects, which syncs more than the journal: that is left to the flush. */
const CHANGE_BYTES_MAX = 64 * 1024;

/**
 * What a volume's owner knows of its flushes. A client that flushes after each single write (a database, a guest's disk
 * in write-through) pays twice: a round of messages for the write and one for the flush. Once it has shown the habit,
 * its next write is made durable before it is acknowledged, and the flush that follows finds nothing left to do (I-1).
 * The first change without a flush behind it ends that: it costs one sync that nobody asked for.
 */
export class FlushHabit {
  private pairs = 0;
  /** Changes begun since the last flush. */
  private changes = 0;
  /** Changes that were acknowledged and not durable, counted; what a former owner left behind is one. */
  private loose = 1;
  private flushed = 0;

  /** A change begins. Returns whether it shall be durable before it is acknowledged; `asked`: its client wants that. */
  begin(bytes: number, asked: boolean): boolean {
    if (++this.changes > 1) this.pairs = 0;
    return asked || (this.pairs >= PAIRS_MIN && bytes <= CHANGE_BYTES_MAX);
  }

  /** It is about to be acknowledged, or has failed, and may have changed something. */
  end(durable: boolean): void {
    if (!durable) this.loose++;
  }

  /** A flush begins: what to hand to `flushedAll` afterwards; undefined when all that was acknowledged is durable. */
  beginFlush(): number | undefined {
    if (this.changes > 0) this.pairs = this.changes === 1 ? Math.min(this.pairs + 1, PAIRS_MIN) : 0;
    this.changes = 0;
    return this.loose > this.flushed ? this.loose : undefined;
  }

  /** Everything acknowledged when this flush began is durable. What came meanwhile has made `loose` larger. */
  flushedAll(mark: number): void {
    this.flushed = Math.max(this.flushed, mark);
  }
}
