/**
 * The oracle: what a volume may answer. It is told of each operation when it is called and when it is answered, and
 * throws a ModelViolation as soon as an answer fits no order of the operations that I-1 and I-2 allow.
 *
 * Each sector is a register of its own. All values written are unique (pattern.ts), so the history of a register is
 * linearizable exactly if no two of its clusters contradict each other (Gibbons and Korach, 1997). A cluster is a
 * write with all reads that returned it; `endMin` is the first answer in it, `startMax` the last call. Cluster a
 * comes before b if a.endMin < b.startMax (something of a was over before something of b began); it is a
 * contradiction if b comes before a as well. Some values are not unique (zeros; what a rollback brings back): a read
 * of one belongs to the only write it fits; when it fits several it is only kept and looked at again with later
 * reads; when none, it is a violation.
 *
 *  - A write without an answer (error, dead gateway) may have happened, or happen later. `strict` deaths: it must
 *    have happened before the gateway died or never (I-2: one outcome before anyone reads it).
 *    While it has no answer it may happen twice: see `secondEffect`.
 *  - A power cut ends an era. What each sector may hold afterwards is every write that no durable write (FUA, or
 *    acknowledged before the call of an answered flush) is known to come after. At most one of those is then real.
 *  - A rollback is a write of all sectors at one instant, with what the snapshot holds; a clone begins with that.
 *  - Reading a snapshot is reading the volume at the time the snapshot was made: the first look at a sector is a
 *    read with the interval of the snapshot operation, later looks must show the same. One instant must exist at
 *    which the volume looked like all of it.
 *
 * Times are ticks of a counter of calls and answers, so that nothing is ever simultaneous.
 */
import {
  ALWAYS,
  afterCut,
  type Cluster,
  clusterOf,
  conflictWith,
  describe,
  endMinOf,
  type FlushOp,
  happened,
  type LogLine,
  linesAbout,
  type ModelOptions,
  NEVER,
  type ReadOp,
  type SnapshotOp,
  sectorsOf,
  shownBy,
  startMaxOf,
  summary,
  WriteIds,
  type WriteOp,
} from './history.js';
import { patternOf, SECTOR_BYTES, writesIn } from './pattern.js';

export class ModelViolation extends Error {
  override readonly name = 'ModelViolation';
}

interface Era {
  clusters: Cluster[];
  /** Reads of a value that fit several writes of it. */
  vagueReads: { value: number; start: number; end: number }[];
}

export class VolumeModel {
  private tick = 1;
  private era = 0;
  private readonly ids: WriteIds;
  private readonly eraStarts: number[] = [ALWAYS];
  /** Per era: call of the latest answered flush. */
  private readonly flushStarts: number[] = [ALWAYS];
  /** [era][sector]; a missing sector holds only what the era began with. */
  private readonly sectors: (Era | undefined)[][] = [[]];
  private readonly initial: WriteOp;
  private readonly opLog: LogLine[] = [];
  readonly counters = {
    'sectors checked': 0,
    'sectors: a value that fits several writes': 0,
    'sectors: unanswered write seen': 0,
    'sectors: a write that took effect twice': 0,
    'sectors: acknowledged, may be lost by a power cut': 0,
  };

  constructor(
    public sizeBytes: number,
    private readonly options: ModelOptions = {},
  ) {
    this.ids = options.ids ?? new WriteIds();
    const { content: values } = options;
    this.initial = this.makeWrite(0, sizeBytes, { zero: true, fua: true, by: 'creation', values }, ALWAYS);
    this.initial.end = ALWAYS;
  }

  /** At this instant the volume has become what `values` says (zeros beyond), and as large. It is durable. */
  rollBack(values: Int32Array, sizeBytes: number, by: string): void {
    const span = Math.max(this.sizeBytes, sizeBytes);
    const op = this.makeWrite(0, span, { fua: true, by, values }, this.tick++);
    op.end = this.tick++;
    this.sizeBytes = sizeBytes;
    const era = this.sectors[this.era]!;
    for (const sector of sectorsOf(op)) {
      // Untouched sectors stay without an entry.
      if (era[sector] === undefined && shownBy(op, sector) === shownBy(this.initial, sector)) continue;
      this.eraOf(this.era, sector).clusters.push(clusterOf(op, sector));
    }
    this.note(op, `${op.start} ${by}`);
  }

  startWrite(
    offsetBytes: number,
    lengthBytes: number,
    what: { zero?: boolean; fua?: boolean; by: string },
  ): { op: WriteOp; data: Uint8Array } {
    const op = this.makeWrite(offsetBytes, lengthBytes, what, this.tick++);
    for (const sector of sectorsOf(op)) this.eraOf(this.era, sector).clusters.push(clusterOf(op, sector));
    this.note(op, `${op.start} call ${describe(op)}`);
    return { op, data: op.zero ? new Uint8Array(0) : patternOf(op.id, offsetBytes, lengthBytes) };
  }

  /** Acknowledged. */
  endWrite(op: WriteOp): void {
    op.end = this.tick++;
    this.note(op, `${op.end} acknowledged ${describe(op)}`);
  }

  /** No answer, or an error: it may have happened, may still happen. With a dead gateway see `died`. */
  unknownWrite(op: WriteOp, why: string): void {
    this.note(op, `${this.tick++} outcome unknown (${why}) ${describe(op)}`);
  }

  /** Refused: it has happened, or never will. */
  failedWrite(op: WriteOp, why: string): void {
    op.limit = Math.min(op.limit, this.tick);
    this.unknownWrite(op, why);
  }

  /** The gateway of these unanswered writes is dead: they have happened, or never will (when deaths are strict). */
  died(ops: Iterable<WriteOp>): void {
    const now = this.tick++;
    for (const op of ops) {
      if (this.options.strictDeaths) op.limit = Math.min(op.limit, now);
      this.note(op, `${now} gateway died ${describe(op)}`);
    }
  }

  startRead(offsetBytes: number, lengthBytes: number, by: string): ReadOp {
    return { kind: 'read', offsetBytes, lengthBytes, by, start: this.tick++, era: this.era };
  }

  endRead(op: ReadOp, data: Uint8Array): void {
    const end = this.tick++;
    if (data.length !== op.lengthBytes) {
      throw new ModelViolation(`read of ${op.lengthBytes} bytes returned ${data.length}`);
    }
    const shown = writesIn(data, op.offsetBytes);
    const first = op.offsetBytes / SECTOR_BYTES;
    this.note(op, `${end} read by ${op.by}, called ${op.start}: ${summary(shown)}`);
    for (let i = 0; i < shown.length; i++) {
      this.checkKnown(first + i, shown[i]!, op.by);
      // Begun before a power cut and answered after it: both worlds are possible.
      if (op.era === this.era) this.observe(this.era, first + i, shown[i]!, op.start, end, op.by);
    }
  }

  startFlush(): FlushOp {
    return { kind: 'flush', start: this.tick++, era: this.era };
  }

  endFlush(op: FlushOp): void {
    // Answered in another era: it was called before the power cut, and proves nothing about what came after.
    this.flushStarts[op.era] = Math.max(this.flushStarts[op.era]!, op.start);
    this.opLog.push({
      offsetBytes: 0,
      lengthBytes: this.sizeBytes,
      line: `${this.tick++} flushed, called ${op.start}`,
    });
  }

  startSnapshot(name: string): SnapshotOp {
    const start = this.tick++;
    return {
      kind: 'snapshot',
      name,
      start,
      end: NEVER,
      era: this.era,
      from: start,
      to: NEVER,
      seen: new Map(),
      loose: false,
    };
  }

  /** Taken at exactly this instant. */
  snapshotNow(name: string): SnapshotOp {
    const op = this.startSnapshot(name);
    this.endSnapshot(op);
    return op;
  }

  /** Answered, or seen to exist. */
  endSnapshot(op: SnapshotOp): void {
    if (op.end !== NEVER) return;
    op.end = this.tick++;
    op.to = Math.min(op.to, op.end);
    op.loose = op.era !== this.era;
    this.note(
      { offsetBytes: 0, lengthBytes: this.sizeBytes },
      `${op.end} snapshot ${op.name}, called ${op.start}`,
    );
  }

  /** `data` was read from the snapshot. */
  checkSnapshot(op: SnapshotOp, offsetBytes: number, data: Uint8Array): void {
    const shown = writesIn(data, offsetBytes);
    const first = offsetBytes / SECTOR_BYTES;
    for (let i = 0; i < shown.length; i++) this.checkSnapshotSector(op, first + i, shown[i]!);
  }

  /**
   * All machines that could have held the only synced copies lost their power. Everything that is not durable may
   * be gone, sector by sector. `op.limit` of writes whose gateway died too has to be set before (`died`).
   */
  powerCut(pending: ReadonlySet<WriteOp>): void {
    const now = this.tick++;
    const old = this.era++;
    this.eraStarts.push(now);
    this.flushStarts.push(ALWAYS);
    const next: (Era | undefined)[] = [];
    this.sectors.push(next);
    this.sectors[old]!.forEach((sector, index) => {
      if (sector) next[index] = this.survivors(sector, old, now, pending);
    });
    this.opLog.push({ offsetBytes: 0, lengthBytes: this.sizeBytes, line: `${now} power cut` });
  }

  /** What the sector may show, for tests and messages: write ids, 0 for zeros. */
  allowed(sectorIndex: number): number[] {
    const era = this.eraOf(this.era, sectorIndex);
    const at = this.tick;
    const fits = era.clusters.filter((c) => !conflictWith(era.clusters, c, at, at));
    return [...new Set(fits.map((c) => c.value))].sort((a, b) => a - b);
  }

  /** Everything that was ever done to a sector, as lines. */
  historyOf(sectorIndex: number): string[] {
    return linesAbout(this.opLog, sectorIndex);
  }

  private makeWrite(
    offsetBytes: number,
    lengthBytes: number,
    what: { zero?: boolean; fua?: boolean; by: string; values?: Int32Array | undefined },
    start: number,
  ): WriteOp {
    const { zero = false, fua = false, by, values } = what;
    const id = start === ALWAYS ? 0 : this.ids.next++;
    const place = { offsetBytes, lengthBytes };
    return { kind: 'write', id, zero, values, fua, by, ...place, start, end: NEVER, limit: NEVER };
  }

  private eraOf(era: number, sector: number): Era {
    const known = this.sectors[era]![sector];
    if (known) return known;
    // Never written up to the beginning of this era.
    const fresh: Era = { clusters: [clusterOf(this.initial, sector)], vagueReads: [] };
    this.sectors[era]![sector] = fresh;
    return fresh;
  }

  private checkKnown(sector: number, shown: number, by: string): void {
    this.counters['sectors checked']++;
    if (shown >= 0 && shown < this.ids.next) return;
    this.fail(sector, shown, by, 'bytes that no write of this place has written');
  }

  private observe(era: number, sector: number, shown: number, start: number, end: number, by: string): void {
    // Untouched sectors, the most of a volume, are not worth an entry.
    if (!this.sectors[era]![sector] && shown === shownBy(this.initial, sector)) return;
    const history = this.eraOf(era, sector);
    let fit: Cluster | undefined;
    for (let i = history.clusters.length - 1; i >= 0; i--) {
      const c = history.clusters[i]!;
      if (c.value !== shown || c.write.start >= end || conflictWith(history.clusters, c, start, end))
        continue;
      if (fit) {
        this.counters['sectors: a value that fits several writes']++;
        history.vagueReads.push({ value: shown, start, end });
        return;
      }
      fit = c;
    }
    fit ??= this.secondEffect(history, sector, shown, start, end);
    if (!fit) this.fail(sector, shown, by, `it does not fit (call ${start}, answer ${end})`);
    this.assign(fit, start, end);
    if (history.vagueReads.length > 0) this.settleVagueReads(history, sector, by);
  }

  /**
   * A gateway that loses the volume does what is not acknowledged once more at the next one. So a write may take effect
   * again after somebody has seen it, and after others that were called meanwhile, until it is answered.
   */
  private secondEffect(
    history: Era,
    sector: number,
    value: number,
    start: number,
    end: number,
  ): Cluster | undefined {
    // What a snapshot shows may be looked at late, after the second effect has been seen.
    const fits = ({ write, readEndMin }: Cluster) =>
      write.start < end && (readEndMin < write.end || end < write.end);
    const first = history.clusters.find((c) => c.value === value && fits(c));
    if (first === undefined || first.write === this.initial) return undefined;
    const again = clusterOf(first.write, sector);
    if (conflictWith(history.clusters, again, start, end)) return undefined;
    history.clusters.push(again);
    this.counters['sectors: a write that took effect twice']++;
    return again;
  }

  private assign(cluster: Cluster, start: number, end: number): void {
    if (cluster.write.end === NEVER && cluster.readEndMin === NEVER)
      this.counters['sectors: unanswered write seen']++;
    cluster.readEndMin = Math.min(cluster.readEndMin, end);
    cluster.readStartMax = Math.max(cluster.readStartMax, start);
  }

  /** Later reads may have left only one write, or none, for an earlier read of a value that several had written. */
  private settleVagueReads(history: Era, sector: number, by: string): void {
    for (let again = history.vagueReads.length > 0; again; ) {
      again = false;
      for (const read of history.vagueReads) {
        const { value, start, end } = read;
        const fits = history.clusters.filter(
          (c) => c.value === value && c.write.start < end && !conflictWith(history.clusters, c, start, end),
        );
        if (fits.length === 0) this.fail(sector, value, by, `an earlier read ${start}..${end} fits no more`);
        if (fits.length > 1) continue;
        this.assign(fits[0]!, start, end);
        history.vagueReads = history.vagueReads.filter((r) => r !== read);
        again = history.vagueReads.length > 0;
        break;
      }
    }
  }

  private survivors(sector: Era, era: number, now: number, pending: ReadonlySet<WriteOp>): Era {
    const durable = sector.clusters.filter((c) => this.isDurable(c, era));
    const left = sector.clusters.filter((c) => {
      const endMin = Math.min(c.write.end, c.write.limit, c.readEndMin);
      return !durable.some((d) => d !== c && endMin < startMaxOf(d));
    });
    const lost = left.filter((c) => happened(c)).length - 1;
    if (lost > 0) this.counters['sectors: acknowledged, may be lost by a power cut'] += lost;
    const only = left.length === 1;
    return { clusters: left.map((c) => afterCut(c, now, only, pending)), vagueReads: [] };
  }

  private isDurable(cluster: Cluster, era: number): boolean {
    const { write } = cluster;
    if (write.fua && write.end !== NEVER) return true;
    if (write.end !== NEVER) return write.end < this.flushStarts[era]!;
    // What a power cut has left is as good as acknowledged once somebody has seen it: a guest that replays its
    // journal and flushes relies on what it has read.
    return write.start === write.limit && cluster.readEndMin < this.flushStarts[era]!;
  }

  private checkSnapshotSector(op: SnapshotOp, sector: number, shown: number): void {
    const by = `snapshot ${op.name}`;
    this.checkKnown(sector, shown, by);
    const before = op.seen.get(sector);
    if (before !== undefined) {
      if (before !== shown) this.fail(sector, shown, by, `it showed write ${before} earlier`);
      return;
    }
    if (op.era !== this.era && this.options.snapshotsDurable === false) return;
    op.seen.set(sector, shown);
    if (op.loose) return;
    this.observe(op.era, sector, shown, op.start, Math.min(op.end, this.tick), by);
    this.narrowInstant(op, sector, shown);
  }

  /** The snapshot shows this write: it was taken after the write was called, and before any later one was answered. */
  private narrowInstant(op: SnapshotOp, sector: number, shown: number): void {
    const history = this.eraOf(op.era, sector);
    const sources = history.clusters.filter((c) => c.value === shown);
    // Of values that are not unique nothing certain follows.
    if (sources.length !== 1) return;
    const cluster = sources[0]!;
    op.from = Math.max(op.from, cluster.write.start);
    for (const later of history.clusters) {
      if (later === cluster || !happened(later)) continue;
      const laterStart = startMaxOf(later);
      if (Math.min(cluster.write.end, cluster.write.limit) < laterStart)
        op.to = Math.min(op.to, endMinOf(later));
    }
    if (op.from > op.to) {
      this.fail(sector, shown, `snapshot ${op.name}`, `no instant shows all of it (${op.from} > ${op.to})`);
    }
  }

  private note(range: { offsetBytes: number; lengthBytes: number }, line: string): void {
    this.opLog.push({ offsetBytes: range.offsetBytes, lengthBytes: range.lengthBytes, line });
  }

  private fail(sector: number, shown: number, by: string, why: string): never {
    const value = shown === -1 ? 'torn or foreign bytes' : shown === 0 ? 'zeros' : `write ${shown}`;
    const lines = [
      `sector ${sector} (byte ${sector * SECTOR_BYTES}): ${by} was shown ${value}: ${why}`,
      `allowed now: ${this.allowed(sector).join(', ')} (0: zeros)`,
      'history of the sector (tick, event):',
      ...this.historyOf(sector).map((line) => `  ${line}`),
    ];
    throw new ModelViolation(lines.join('\n'));
  }
}
