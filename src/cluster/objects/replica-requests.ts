/** What a primary asks of another replica while it makes them equal: again and again until there is an answer. */
import { BLOCK_SIZE } from '../../base/bytes.js';
import { AppError } from '../../base/errors.js';
import { HOLE } from '../../store/checksum.js';
import { type PeerMessage, PeerType } from '../../wire/peer-message.js';
import type { ObjectAddress } from '../epochs/address.js';
import { addressed } from './mutation.js';
import { type EpochContext, EpochEnded, type ObjectNode } from './object-node.js';

const RETRY_MS = 10;

/** Asks until there is an answer or the epoch ends. `build`: the request, anew for each try. */
export async function askReplica(
  node: ObjectNode,
  context: EpochContext,
  nodeId: string,
  build: () => PeerMessage,
): Promise<PeerMessage> {
  for (;;) {
    if (context !== node.context || node.stopped) throw new EpochEnded();
    try {
      return await node.ask(context, nodeId, build());
    } catch (error) {
      if (!AppError.isCode(error, 'network', 'again', 'old-epoch', 'new-epoch')) throw error;
      await node.pauseInEpoch(context, RETRY_MS);
    }
  }
}

/** Verified bytes of another replica; 'checksum' | 'no-object' | 'io'. */
export async function fetchBytes(
  node: ObjectNode,
  context: EpochContext,
  address: ObjectAddress,
  nodeId: string,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  const answer = await askReplica(node, context, nodeId, () =>
    Object.assign(addressed(PeerType.replicaRead, address), { offset, length }),
  );
  return answer.payload;
}

/** One of the replicas has nothing there: zeros that take no room. */
export async function isHoleAt(
  node: ObjectNode,
  context: EpochContext,
  address: ObjectAddress,
  nodeIds: readonly string[],
  block: number,
): Promise<boolean> {
  for (const id of nodeIds) {
    const sums = await fetchSums(node, context, address, id);
    if (sums === undefined || sums[block] === HOLE) return true;
  }
  return false;
}

/** A range of another replica's content, without the blocks that it cannot read. */
export async function fetchGood(
  node: ObjectNode,
  context: EpochContext,
  address: ObjectAddress,
  nodeId: string,
  { offset, length }: { readonly offset: number; readonly length: number },
): Promise<{ offset: number; data: Uint8Array }[]> {
  const pieces: { offset: number; data: Uint8Array }[] = [];
  const fetch = async (at: number, bytes: number) => {
    const data = await fetchBytes(node, context, address, nodeId, at, bytes);
    pieces.push({ offset: at, data });
  };
  try {
    await fetch(offset, length);
    return pieces;
  } catch (error) {
    if (!AppError.isCode(error, 'checksum')) throw error;
  }
  for (let at = offset; at < offset + length; at += BLOCK_SIZE) {
    try {
      await fetch(at, Math.min(BLOCK_SIZE, offset + length - at));
    } catch (error) {
      if (!AppError.isCode(error, 'checksum')) throw error;
    }
  }
  return pieces;
}

/**
 * Checksums of another replica's blocks, those that do not verify altered; undefined: it has no such object.
 * `trusting`: nothing is verified.
 */
export async function fetchSums(
  node: ObjectNode,
  context: EpochContext,
  address: ObjectAddress,
  nodeId: string,
  trusting = false,
): Promise<Uint32Array | undefined> {
  const answer = await askReplica(node, context, nodeId, () =>
    Object.assign(addressed(PeerType.replicaSums, address), { length: trusting ? 1 : 0 }),
  );
  if (answer.length === 0) return undefined;
  const bytes = new Uint8Array(answer.payload);
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
}
