import { BLOCK_SIZE } from '../../base/bytes.js';
import { AppError } from '../../base/errors.js';
import { HOLE } from '../../store/checksum.js';
import { emptyMessage, type PeerMessage, PeerType } from '../../wire/peer-message.js';
import type { ObjectAddress } from '../epochs/address.js';
import { type Evidence, type Judgement, judge, type ReplicaState } from './judge.js';
import { addressed } from './mutation.js';
import { type EpochContext, EpochEnded, type ObjectNode } from './object-node.js';
import type { Settler } from './settler.js';

const RETRY_MS = 10;
/** An object that is written to all the time is looked at between two writes, after waiting this long for a pause. */
const QUIET_TRIES = 20;

/** In `length` of the requests check and replicaCheck. */
export const CheckMode = {
  /** Every block of every replica is read from its disk and verified, and the replicas are compared. */
  compare: 0,
  /** The same, and what is not right is made right. */
  repair: 1,
  /** Only whether each replica is there. */
  existence: 2,
  /** replicaCheck only: the checksums as they are, and whether the blocks in the payload (u32 each) verify. */
  tables: 3,
} as const;

export interface ObjectCheck {
  /** As in Judgement; repaired: it was 'differ'. waiting: too few copies are up to repair it now. */
  readonly outcome: Judgement['verdict'] | 'repaired' | 'waiting';
  /** Replicas that are in sync and up, by node id: only these are held to anything. */
  readonly replicas: readonly { readonly nodeId: string; readonly state: ReplicaState }[];
  /** unclear: the blocks concerned. */
  readonly unclearBlocks: readonly number[];
  /** Bytes of data (no holes) in all replicas together. */
  readonly checkedBytes: number;
}

/**
 * Compares all replicas of one object, as its primary (scrubbing, `dog vdi check`). Reading them takes long, so it is
 * done while clients go on: a store verifies a block against the checksum it has at that moment. Only then changes
 * wait, for the time of one round trip, while the tables of checksums are compared and blocks in doubt are read once
 * more. What is found wrong is made right by settling, which moves only blocks that differ.
 */
export class Checker {
  constructor(
    private readonly node: ObjectNode,
    private readonly settler: Settler,
  ) {}

  /** Rejects with 'again' when another node is the primary. */
  async check(address: ObjectAddress, mode: number): Promise<ObjectCheck> {
    const { node } = this;
    for (;;) {
      const context = node.context;
      if (context === undefined || node.stopped) throw new AppError('again', 'not in the cluster yet');
      const placement = context.view.locate(address);
      if (placement.serving[0] !== node.selfId) throw new AppError('again', 'another node is the primary');
      if (!context.peered.fired) {
        await Promise.race([context.peered.promise, context.view.ended.promise]);
        continue;
      }
      const mustWait = this.settler.mustWait(placement);
      if (node.unsettled.hasObject(address.oid) && !mustWait) {
        await this.settler.settle(context, address);
        continue;
      }
      const found = await this.compare(context, address, placement.serving, mode);
      if (found === undefined) continue;
      if (found.outcome !== 'differ' || mode !== CheckMode.repair) return found;
      if (mustWait) return { ...found, outcome: 'waiting' };
      if (!this.prepareRepair(context, address, found)) return { ...found, outcome: 'unclear' };
      if (await this.settler.settle(context, address)) return { ...found, outcome: 'repaired' };
    }
  }

  /** Undefined: the epoch ended first. */
  private async compare(
    context: EpochContext,
    address: ObjectAddress,
    serving: readonly string[],
    mode: number,
  ): Promise<ObjectCheck | undefined> {
    try {
      let suspects = serving.map((): readonly number[] => []);
      if (mode !== CheckMode.existence) {
        const seen = await Promise.all(serving.map((id) => this.evidence(context, address, id, mode)));
        suspects = seen.map(({ bad }) => bad);
        await this.untilQuiet(context, address.oid);
      }
      const evidence = await this.compareStill(context, address, serving, mode, suspects);
      if (evidence === undefined) return undefined;
      const { verdict, states, unclearBlocks } = judge(evidence);
      const replicas = serving.map((nodeId, i) => ({ nodeId, state: states[i]! }));
      return { outcome: verdict, replicas, unclearBlocks, checkedBytes: dataBytes(evidence) };
    } catch (error) {
      if (error instanceof EpochEnded) return undefined;
      throw error;
    }
  }

  /** The replicas at one moment: changes wait, so that none is seen on one and not yet on another. */
  private async compareStill(
    context: EpochContext,
    address: ObjectAddress,
    serving: readonly string[],
    mode: number,
    suspects: readonly (readonly number[])[],
  ): Promise<Evidence[] | undefined> {
    const { node } = this;
    const how = mode === CheckMode.existence ? mode : CheckMode.tables;
    const release = await node.lock(address.oid, 0, Number.MAX_SAFE_INTEGER, false);
    try {
      if (context !== node.context) return undefined;
      // A change went wrong meanwhile: that is settled first, and is nothing that a disk is to blame for.
      if (node.unsettled.hasObject(address.oid) && !this.settler.mustWait(context.view.locate(address))) {
        return undefined;
      }
      return await Promise.all(serving.map((id, i) => this.evidence(context, address, id, how, suspects[i])));
    } finally {
      release();
    }
  }

  /** Later changes queue behind a lock that waits for the present ones: it is better asked for when there are none. */
  private async untilQuiet(context: EpochContext, oid: bigint): Promise<void> {
    const { node } = this;
    for (let i = 0; i < QUIET_TRIES && node.inFlight.has(oid) && context === node.context; i++) {
      await node.pauseInEpoch(context, RETRY_MS);
    }
  }

  /**
   * Settling takes this node's content for the right one: it is told where to get a better one. Without any whole
   * replica it gathers bad blocks of its own from the others; but it must have the object then, for what a primary
   * lacks is removed everywhere. False: not to be repaired.
   */
  private prepareRepair(context: EpochContext, address: ObjectAddress, { replicas }: ObjectCheck): boolean {
    const { node } = this;
    const own = replicas.find((r) => r.nodeId === node.selfId);
    const good = replicas.find((r) => r.state === 'good');
    if (own?.state !== 'good' && good !== undefined) context.sources.set(address.oid, good.nodeId);
    else if (own === undefined || own.state === 'missing') return false;
    node.unsettled.add(address.oid);
    return true;
  }

  private async evidence(
    context: EpochContext,
    address: ObjectAddress,
    nodeId: string,
    mode: number,
    blocks: readonly number[] = [],
  ): Promise<Evidence> {
    const { node } = this;
    if (nodeId === node.selfId) return evidenceHere(node, address.oid, mode, blocks);
    for (;;) {
      if (context !== node.context || node.stopped) throw new EpochEnded();
      try {
        const message = addressed(PeerType.replicaCheck, address);
        message.length = mode;
        message.payload = new Uint8Array(Uint32Array.from(blocks).buffer);
        return decodeEvidence(await node.ask(context, nodeId, message));
      } catch (error) {
        if (!AppError.isCode(error, 'network', 'again', 'old-epoch', 'new-epoch')) throw error;
        await node.pauseInEpoch(context, RETRY_MS);
      }
    }
  }
}

/** `blocks`: in mode tables, those to look at once more. */
async function evidenceHere(
  node: ObjectNode,
  oid: bigint,
  mode: number,
  blocks: readonly number[],
): Promise<Evidence> {
  const { store } = node;
  if (!store.has(oid)) return { sums: undefined, bad: [] };
  if (mode === CheckMode.existence) return { sums: new Uint32Array(0), bad: [] };
  const bad =
    mode === CheckMode.tables
      ? await badAmong(node, oid, blocks)
      : await store.verify(oid, { fromDevice: true });
  // In one go with the last look at the blocks: nothing changes while the lock is held, and without it nobody compares.
  return { sums: store.checksums(oid), bad };
}

async function badAmong(node: ObjectNode, oid: bigint, blocks: readonly number[]): Promise<number[]> {
  const { store } = node;
  const bad: number[] = [];
  for (const block of blocks) {
    const offset = block * BLOCK_SIZE;
    const length = Math.min(BLOCK_SIZE, (store.objectBytes(oid) ?? 0) - offset);
    if (length <= 0) continue;
    try {
      await store.read(oid, offset, length);
    } catch (error) {
      if (!AppError.isCode(error, 'checksum')) throw error;
      bad.push(block);
    }
  }
  return bad;
}

function dataBytes(evidence: readonly Evidence[]): number {
  let blocks = 0;
  for (const { sums } of evidence) for (const sum of sums ?? []) if (sum !== HOLE) blocks++;
  return blocks * BLOCK_SIZE;
}

/**
 * A replica's answer to replicaCheck: length 1 when it has the object, and then the checksum of each block followed by
 * the numbers of the `sequence` blocks that do not verify, all u32.
 */
export async function answerCheck(node: ObjectNode, message: PeerMessage): Promise<PeerMessage> {
  const answer = emptyMessage(PeerType.replicaCheck + 1);
  const { payload } = message;
  const blocks = new Uint32Array(new Uint8Array(payload.subarray(0, payload.length & ~3)).buffer);
  const { sums, bad } = await evidenceHere(node, message.oid, message.length, [...blocks]);
  if (sums === undefined) return answer;
  const table = new Uint32Array(sums.length + bad.length);
  table.set(sums);
  table.set(bad, sums.length);
  answer.length = 1;
  answer.sequence = bad.length;
  answer.payload = new Uint8Array(table.buffer);
  return answer;
}

export function decodeEvidence(answer: PeerMessage): Evidence {
  if (answer.length === 0) return { sums: undefined, bad: [] };
  const table = new Uint32Array(new Uint8Array(answer.payload).buffer);
  const count = table.length - answer.sequence;
  if (count < 0) throw new AppError('network', 'an answer to a check is too short');
  return { sums: table.slice(0, count), bad: [...table.subarray(count)] };
}
