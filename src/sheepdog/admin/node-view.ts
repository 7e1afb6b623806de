/**
 * What one sheep says of itself, and its settings (reference, 2.5). Records are cut to what the client takes; payloads
 * of another length than the one given here are refused with INVALID_PARMS.
 *
 *   STAT_SHEEP     in the header: size, free         STAT            15 u64
 *   STAT_RECOVERY  24 bytes                          GET_RECOVERY    24 bytes      SET_RECOVERY  payload of 24
 *   MD_INFO        263 688 bytes, and exactly that   GET_LOGLEVEL    i32           SET_LOGLEVEL  payload of 4
 *   TRACE_*        there are no tracers              GET_VNODES      i32           SET_VNODES    payload of 4 or 8
 */
import { nodeResponse } from '../../wire/headers.js';
import {
  MD_COUNT_OFFSET,
  MD_DISKS_MAX,
  MD_INFO_BYTES,
  mdDisk,
  nodeStat,
  recoveryState,
  recoveryThrottle,
} from '../../wire/records.js';
import { ClusterFlag, Op, Result } from '../../wire/sheepdog.js';
import type { Answer, Request } from '../operation.js';
import {
  answerOf,
  hasPayload,
  integerAnswer,
  invalid,
  type OperationTable,
  recordAnswer,
  roomOf,
  success,
} from './answers.js';
import type { ClusterFacts, CounterFacts } from './cluster-facts.js';
import type { Refuse } from './refused.js';

const LOG_LEVEL_MAX = 7;
const VNODES_MAX = 65_535;
/** In recovery_state: objects are being recovered (the list is ready, nobody is told yet). */
const RECOVERING = 1;
/** No throttle: recovery is not slowed down by numbers that somebody set. */
const UNTHROTTLED = recoveryThrottle.encode({});
const NO_BYTES = new Uint8Array(0);

export function nodeViewOperations(facts: ClusterFacts, refuse: Refuse): OperationTable {
  return [
    [Op.STAT_SHEEP, () => statSheep(facts)],
    [Op.STAT_RECOVERY, (request) => statRecovery(facts, request)],
    [Op.STAT, async (request) => recordAnswer(request, encodeCounters(await facts.counters()))],
    [Op.MD_INFO, (request) => mdInfo(facts, request)],
    [Op.GET_LOGLEVEL, async (request) => integerAnswer(request, await facts.logLevel())],
    [Op.SET_LOGLEVEL, (request) => setLogLevel(facts, request)],
    [Op.GET_RECOVERY, (request) => recordAnswer(request, UNTHROTTLED)],
    [Op.SET_RECOVERY, (request) => setThrottle(refuse, request)],
    [Op.GET_VNODES, (request) => integerAnswer(request, facts.vnodes)],
    [Op.SET_VNODES, (request) => setVnodes(facts, refuse, request)],
    [Op.TRACE_STATUS, () => ({ result: Result.SUCCESS, payload: NO_BYTES })],
    [Op.TRACE_READ_BUF, () => ({ result: Result.SUCCESS, payload: NO_BYTES })],
    [Op.TRACE_ENABLE, (request) => switchTracer(refuse, request)],
    [Op.TRACE_DISABLE, (request) => switchTracer(refuse, request)],
  ];
}

/** Size is what objects take plus what is free, as in the original: other files on the disk are nobody's business. */
async function statSheep(facts: ClusterFacts): Promise<Answer> {
  let usedBytes = 0;
  let freeBytes = 0;
  for (const disk of await facts.disks()) {
    usedBytes += disk.usedBytes;
    freeBytes += disk.freeBytes;
  }
  const header = nodeResponse.encode({
    storeBytes: BigInt(usedBytes + freeBytes),
    freeBytes: BigInt(freeBytes),
  });
  return { result: Result.SUCCESS, header };
}

async function statRecovery(facts: ClusterFacts, request: Request): Promise<Answer> {
  const recovery = await facts.recovery();
  const record =
    recovery === undefined
      ? {}
      : {
          inRecovery: 1,
          state: RECOVERING,
          finished: BigInt(recovery.finished),
          total: BigInt(recovery.total),
        };
  return recordAnswer(request, recoveryState.encode(record));
}

function encodeCounters({ gateway, peer }: CounterFacts): Buffer {
  return nodeStat.encode({
    gatewayActive: BigInt(gateway.active),
    peerActive: BigInt(peer.active),
    gatewayTotal: BigInt(gateway.total),
    peerTotal: BigInt(peer.total),
    gatewayRxBytes: BigInt(gateway.writeBytes),
    gatewayTxBytes: BigInt(gateway.readBytes),
    peerRxBytes: BigInt(peer.writeBytes),
    peerTxBytes: BigInt(peer.readBytes),
    gatewayRemove: BigInt(gateway.remove),
    gatewayRead: BigInt(gateway.read),
    gatewayWrite: BigInt(gateway.write),
    gatewayFlush: BigInt(gateway.flush),
    peerRemove: BigInt(peer.remove),
    peerRead: BigInt(peer.read),
    peerWrite: BigInt(peer.write),
  });
}

async function mdInfo(facts: ClusterFacts, request: Request): Promise<Answer> {
  if (roomOf(request) !== MD_INFO_BYTES) return invalid;
  const disks = (await facts.disks()).slice(0, MD_DISKS_MAX);
  const payload = Buffer.alloc(MD_INFO_BYTES);
  disks.forEach(({ path, usedBytes, freeBytes }, index) => {
    const record = { index, freeBytes: BigInt(freeBytes), usedBytes: BigInt(usedBytes), path };
    mdDisk.encodeInto(record, payload, index * mdDisk.sizeBytes);
  });
  payload.writeUInt32LE(disks.length, MD_COUNT_OFFSET);
  return { result: Result.SUCCESS, payload };
}

async function setLogLevel(facts: ClusterFacts, request: Request): Promise<Answer> {
  if (!hasPayload(request) || request.payload.length !== 4) return invalid;
  const level = request.payload.readInt32LE();
  if (level < 0 || level > LOG_LEVEL_MAX) return invalid;
  await facts.acts.setLogLevel(level);
  return success;
}

function setThrottle(refuse: Refuse, request: Request): Answer {
  if (!hasPayload(request) || request.payload.length !== recoveryThrottle.sizeBytes) return invalid;
  const { execCountMax, intervalMs } = recoveryThrottle.decode(request.payload);
  // As in the original, both must be set for either to count. Taking a throttle off is how it is already.
  if (execCountMax === 0 || intervalMs === 0n) return success;
  return refuse(Op.SET_RECOVERY, 'the speed of recovery cannot be set yet');
}

function setVnodes(facts: ClusterFacts, refuse: Refuse, request: Request): Answer {
  const { payload } = request;
  if (!hasPayload(request) || (payload.length !== 4 && payload.length !== 8)) return invalid;
  const vnodes = payload.readInt32LE();
  if (facts.vnodes === 0) return answerOf(Result.GATEWAY_MODE);
  if ((facts.describe().flags & ClusterFlag.AUTO_VNODES) !== 0)
    return answerOf(Result.INVALID_VNODES_STRATEGY);
  if (vnodes < 1 || vnodes > VNODES_MAX) return invalid;
  return refuse(Op.SET_VNODES, 'the weight of a sheep is given when it starts');
}

/** No tracer is known, which is what the original answers for a name it does not know. */
function switchTracer(refuse: Refuse, request: Request): Answer {
  if (!hasPayload(request) || request.payload.length === 0) return invalid;
  return refuse(request.opcode, 'there are no tracers');
}
