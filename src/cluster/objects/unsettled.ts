/**
 * What one replica holds that may not be on all others yet (I-2). A write is uncommitted from its arrival until its
 * primary says that every replica has it; meanwhile the replica does not answer reads of those bytes by itself. When
 * an epoch ends, the objects with uncommitted writes become unsettled as a whole, until the primary of a later epoch
 * has made all replicas equal.
 */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

interface Uncommitted extends ByteRange {
  readonly oid: bigint;
}

export class Unsettled {
  /** Per primary, by its sequence number, oldest first. */
  private readonly streams = new Map<string, Map<number, Uncommitted>>();
  private readonly byObject = new Map<bigint, Uncommitted[]>();
  private readonly objects: Set<bigint>;
  /** Of those, where only these bytes are in doubt as far as this node knows. */
  private readonly doubted = new Map<bigint, ByteRange[]>();

  constructor(suspects: Iterable<bigint>) {
    this.objects = new Set(suspects);
  }

  /** A write of this epoch has arrived from a primary. A repetition of the same sequence is one write. */
  begin(primary: string, sequence: number, oid: bigint, start: number, end: number): void {
    let stream = this.streams.get(primary);
    if (stream === undefined) {
      stream = new Map();
      this.streams.set(primary, stream);
    }
    if (stream.has(sequence)) return;
    const entry = { oid, start, end };
    stream.set(sequence, entry);
    const list = this.byObject.get(oid);
    if (list === undefined) this.byObject.set(oid, [entry]);
    else list.push(entry);
  }

  /** Everything of this epoch from the primary up to `sequence` is on all replicas. */
  commit(primary: string, sequence: number): void {
    const stream = this.streams.get(primary);
    if (stream === undefined) return;
    for (const [number, entry] of stream) {
      if (number > sequence) break;
      stream.delete(number);
      const list = this.byObject.get(entry.oid)!;
      if (list.length === 1) this.byObject.delete(entry.oid);
      else list.splice(list.indexOf(entry), 1);
    }
  }

  /** The epoch is over; `inFlight`: what this node itself was changing as a primary. */
  endEpoch(inFlight: Iterable<readonly [bigint, Iterable<ByteRange>]>): void {
    for (const [oid, list] of this.byObject) this.doubt(oid, list);
    for (const [oid, list] of inFlight) this.doubt(oid, list);
    this.byObject.clear();
    this.streams.clear();
  }

  /** The object is the same on all replicas. */
  settle(oid: bigint): void {
    this.objects.delete(oid);
    this.doubted.delete(oid);
    const list = this.byObject.get(oid);
    if (list === undefined) return;
    this.byObject.delete(oid);
    for (const stream of this.streams.values()) {
      for (const [number, entry] of stream) if (entry.oid === oid) stream.delete(number);
    }
  }

  /** The object as a whole waits to be settled. */
  hasObject(oid: bigint): boolean {
    return this.objects.has(oid);
  }

  /** All of the object is in doubt. */
  add(oid: bigint): void {
    this.objects.add(oid);
    this.doubted.delete(oid);
  }

  /** Some byte of the range may not be on all replicas. */
  overlaps(oid: bigint, start: number, end: number): boolean {
    const meets = (range: ByteRange) => range.start < end && start < range.end;
    if (this.objects.has(oid)) {
      const ranges = this.doubted.get(oid);
      if (ranges === undefined || ranges.some(meets)) return true;
    }
    return this.byObject.get(oid)?.some(meets) ?? false;
  }

  /** Objects that wait to be settled. */
  get pending(): ReadonlySet<bigint> {
    return this.objects;
  }

  /** All objects with anything unsettled or uncommitted. */
  all(): bigint[] {
    return [...this.objects, ...this.byObject.keys()];
  }

  private doubt(oid: bigint, ranges: Iterable<ByteRange>): void {
    // What is in doubt as a whole stays so.
    if (this.objects.has(oid) && !this.doubted.has(oid)) return;
    this.objects.add(oid);
    this.doubted.set(oid, [...(this.doubted.get(oid) ?? []), ...ranges]);
  }
}

/** A primary's side of one replica's stream: numbers its writes and knows up to where all are committed. */
export class CommitStream {
  private next = 1;
  private low = 0;
  /** The newest watermark that the replica was sent. */
  told = 0;
  private readonly finished = new Set<number>();

  issue(): number {
    return this.next++;
  }

  /** The write is on every replica. Returns true when the watermark moved. */
  finish(sequence: number): boolean {
    this.finished.add(sequence);
    const before = this.low;
    while (this.finished.delete(this.low + 1)) this.low++;
    return this.low !== before;
  }

  /** Every write numbered up to this one is committed. */
  get watermark(): number {
    return this.low;
  }
}
