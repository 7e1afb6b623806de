import { type Clock, sleep } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { ClusterNode } from '../cluster/cluster-node.js';
import type { ObjectAddress } from '../cluster/epochs/address.js';
import { CheckMode } from '../cluster/objects/checker.js';
import { addressIn, type Directory, inodeAddress } from '../volume/directory.js';
import type { VdiRecord } from '../volume/records.js';
import { encodeHeader, readIndexEntry, readIndexPieces, writeHeader } from '../volume/volume-index.js';
import { dataOid, formatOid, inodeOid, vidOf, vmstateOid } from '../wire/oid.js';
import type { CheckFinding, ControlProgress, ControlResult, NodeInfo } from './api.js';

/** Objects compared at the same time. */
const PARALLEL = 4;
/** Findings in one answer: a list that nobody reads must not fill the memory (I-11). */
const FINDINGS_MAX = 10_000;
const PROGRESS_MS = 100;
const INODE_INDEX = -1;
const VMSTATE_INDEX = -2;
/** A first write takes less, unless it waits for copies. */
const FIRST_WRITE_MS = 500;
const HEADER_TRIES = 5;

export interface VolumeCheckOptions {
  readonly cluster: ClusterNode;
  readonly directory: Directory;
  readonly clock: Clock;
  readonly nodes: () => NodeInfo[];
}

interface Entry {
  readonly oid: bigint;
  readonly index: number;
}

/**
 * Compares the replicas of every object of one version. The index is read piece by piece, so the memory it takes does
 * not depend on the size of the volume; the replicas are read where they lie, and only checksums travel.
 */
export class VolumeCheck {
  private readonly counts = { objects: 0, findings: 0, repaired: 0, unchecked: 0, headers: 0 };
  private readonly found: CheckFinding[] = [];
  private done = 0;
  private toldMs = Number.NEGATIVE_INFINITY;

  /** `inherited`: also what the version it was made from refers to at the same place. */
  constructor(
    private readonly options: VolumeCheckOptions,
    private readonly record: VdiRecord,
    private readonly mode: number,
    private readonly inherited: boolean,
    private readonly onProgress: (progress: ControlProgress) => void,
  ) {}

  async run(): Promise<ControlResult<'vdi.check'>> {
    let total = 0;
    // Counted first, for the progress: the index is small beside what it names.
    for await (const _ of this.entries()) total++;
    this.counts.objects = total;
    await forEachOf(this.entries(), PARALLEL, async (entry) => {
      await this.checkEntry(entry);
      this.tell(++this.done, Math.max(this.done, total));
    });
    if (this.mode !== CheckMode.existence) await this.checkHeader();
    this.found.sort((a, b) => a.index - b.index);
    return { ...this.counts, found: this.found };
  }

  private tell(done: number, total: number): void {
    const nowMs = this.options.clock.nowMs();
    if (done < total && nowMs - this.toldMs < PROGRESS_MS) return;
    this.toldMs = nowMs;
    this.onProgress({ done, total, unit: 'objects' });
  }

  private async *entries(): AsyncIterable<Entry> {
    const { record } = this;
    yield { oid: inodeOid(record.vid), index: INODE_INDEX };
    const parent = this.inherited ? undefined : this.livingParent();
    const above = parent && this.pieces(parent);
    for await (const { first, entries } of this.pieces(record)) {
      // Both walk in pieces of the same size.
      const theirs = (await above?.next())?.value?.entries;
      for (let i = 0; i < entries.length; i++) {
        const owner = entries[i]!;
        if (owner !== 0 && owner !== theirs?.[i]) {
          yield { oid: dataOid(owner, first + i), index: first + i };
        }
      }
    }
    for (let i = 0; i < (record.vmObjects ?? 0); i++) {
      yield { oid: vmstateOid(record.vid, i), index: VMSTATE_INDEX };
    }
  }

  private pieces(record: VdiRecord) {
    const { client } = this.options.cluster;
    return readIndexPieces(client, client.session(), record);
  }

  /** The nearest version above that is checked itself when all are; it never changes. */
  private livingParent(): VdiRecord | undefined {
    const { directory } = this.options;
    let above = directory.vdi(this.record.parent);
    while (above?.state === 'deleted') above = directory.vdi(above.parent);
    return above?.state === 'live' ? above : undefined;
  }

  private async checkEntry({ oid, index }: Entry): Promise<void> {
    const { record, counts } = this;
    const address = addressIn(record, oid);
    let finding = await this.compare(address, index);
    if (finding?.outcome === 'lost' && (await this.refersTo(index, oid))) {
      finding = await this.compare(address, index);
    } else if (finding?.outcome === 'lost') finding = undefined;
    // Asked afterwards: a sheep that died was waited for, until it did not belong to the cluster any more.
    if (this.isIncomplete(address)) counts.unchecked++;
    if (finding?.outcome === 'repaired') counts.repaired++;
    if (finding !== undefined && ++counts.findings <= FINDINGS_MAX) this.found.push(finding);
  }

  /**
   * A volume in use may have discarded the object since its index was read; and a first write puts an entry into the
   * index while it makes the object, so it gets a moment.
   */
  private async refersTo(index: number, oid: bigint): Promise<boolean> {
    if (index === INODE_INDEX) return true;
    // Their numbers are reserved before they are made: some may never have been.
    if (index === VMSTATE_INDEX) return false;
    const { client } = this.options.cluster;
    await sleep(this.options.clock, FIRST_WRITE_MS);
    return (await readIndexEntry(client, client.session(), this.record, index)) === vidOf(oid);
  }

  private async compare(address: ObjectAddress, index: number): Promise<CheckFinding | undefined> {
    const { client } = this.options.cluster;
    const oid = formatOid(address.oid);
    if (this.placementOf(address).serving.length === 0) {
      // Asking would wait until one of them is back.
      return { oid, index, outcome: 'unreachable', replicas: [] };
    }
    const { outcome, replicas } = await client.check(client.session(), address, this.mode);
    if (outcome === 'same') return undefined;
    const nodes = new Map(this.options.nodes().map((node) => [node.id, node]));
    return {
      oid,
      index,
      outcome,
      replicas: replicas.map(({ nodeId, state }) => {
        const { host = '', port = 0 } = nodes.get(nodeId) ?? {};
        return { host, port, state };
      }),
    };
  }

  /** Some copy is on a sheep that is down, or not yet there. */
  private isIncomplete(address: ObjectAddress): boolean {
    const { holders, serving } = this.placementOf(address);
    return serving.length < holders.length;
  }

  private placementOf(address: ObjectAddress) {
    const view = this.options.cluster.objects.context?.view;
    if (view === undefined) throw new AppError('wait-for-join', 'the node is not in the cluster yet');
    return view.locate(address);
  }

  /**
   * The records are the truth, and the header in the inode repeats them, for whoever rebuilds volumes without a
   * cluster. One that stayed behind (a crash between the two) is written anew, from the record as it is then.
   */
  private async checkHeader(): Promise<void> {
    const { client } = this.options.cluster;
    const { directory } = this.options;
    for (let i = 0; i < HEADER_TRIES; i++) {
      const record = directory.vdi(this.record.vid);
      const line = record && directory.line(record.line);
      if (record?.state !== 'live' || line === undefined) return;
      const session = client.session();
      const wanted = encodeHeader(record, line.name);
      let stored: Uint8Array;
      try {
        stored = await client.read(session, inodeAddress(record), 0, wanted.length);
      } catch (error) {
        if (AppError.isCode(error, 'no-object', 'io')) return;
        throw error;
      }
      if (Buffer.compare(stored, wanted) === 0) return;
      if (i === 0) this.counts.headers++;
      if (this.mode !== CheckMode.repair) return;
      await writeHeader(client, session, record, line.name);
    }
  }
}

/** Like forEachLimit of base/signal.ts, over what comes bit by bit. */
async function forEachOf<T>(
  items: AsyncIterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const iterator = items[Symbol.asyncIterator]();
  let failure: { error: unknown } | undefined;
  const worker = async () => {
    try {
      while (failure === undefined) {
        const next = await iterator.next();
        if (next.done === true) return;
        await work(next.value);
      }
    } catch (error) {
      failure ??= { error };
    }
  };
  await Promise.all(Array.from({ length: limit }, worker));
  if (failure !== undefined) throw failure.error;
}
