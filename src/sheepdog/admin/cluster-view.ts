/**
 * What a cluster looks like (reference, 2.5 and 7.2).
 *
 *   GET_NODE_LIST   sd_node[nr_nodes]                               as many as fit; the header has nr_nodes
 *   STAT_CLUSTER    {epoch_log, sd_node[nodes_nr]}[]                newest epoch first, as many epochs as fit
 *   CLUSTER_INFO    cluster_info, 491 568 bytes                     cut to what the client takes
 *   GET_EPOCH       sd_node[], then the time, u64 seconds           all of it or BUFFER_SMALL
 *   GET_STORE_LIST  names, a space after each, then NUL             cut to what the client takes
 */
import { clusterRequest, nodeResponse, objRequest } from '../../wire/headers.js';
import { encodeTime } from '../../wire/inode.js';
import {
  CLUSTER_INFO_BYTES,
  CLUSTER_INFO_NODES,
  clusterInfoHead,
  epochLog,
  sdNode,
} from '../../wire/records.js';
import { ClusterStatus, Op, Result, SHEEP_VERSION } from '../../wire/sheepdog.js';
import type { Answer, Request } from '../operation.js';
import { ANSWER_BYTES_MAX, answerOf, type OperationTable, recordAnswer, roomOf } from './answers.js';
import type { ClusterDescription, ClusterFacts, ClusterState, EpochFacts } from './cluster-facts.js';
import { encodeNode, encodeNodes, inOrder } from './node-records.js';

/**
 * Names that `cluster format -b` may give. There is one store, which is neither; the names stand for it, so that old
 * scripts run.
 */
export const STORE_NAMES: readonly string[] = ['tree', 'plain'];
const DEFAULT_STORE = 'plain';

/** Clients double the nodes for each epoch until they suffice, so they ask for less than twice the largest number. */
const NODES_ASKED_MAX = 2 * CLUSTER_INFO_NODES;

const resultOfState: Readonly<Record<ClusterState, number>> = {
  running: Result.SUCCESS,
  'wait-for-format': Result.WAIT_FOR_FORMAT,
  'wait-for-join': Result.WAIT_FOR_JOIN,
  shutdown: Result.SHUTDOWN,
  killed: Result.KILLED,
};

const statusOfState: Readonly<Record<ClusterState, number>> = {
  running: ClusterStatus.ok,
  'wait-for-format': ClusterStatus.wait,
  'wait-for-join': ClusterStatus.wait,
  shutdown: ClusterStatus.shutdown,
  killed: ClusterStatus.killed,
};

export function clusterViewOperations(facts: ClusterFacts): OperationTable {
  return [
    [Op.GET_NODE_LIST, (request) => nodeList(facts.describe(), request)],
    [Op.STAT_CLUSTER, (request) => statCluster(facts, request)],
    [Op.CLUSTER_INFO, (request) => recordAnswer(request, clusterInfo(facts.describe()))],
    [Op.GET_EPOCH, (request) => epochMembers(facts.describe(), request)],
    [Op.GET_STORE_LIST, (request) => storeList(request)],
  ];
}

function nodeList({ nodes }: ClusterDescription, request: Request): Answer {
  const payload = encodeNodes(nodes, Math.min(roomOf(request), ANSWER_BYTES_MAX));
  const nodeCount = payload.length / sdNode.sizeBytes;
  return { result: Result.SUCCESS, header: nodeResponse.encode({ nodeCount }), payload };
}

/** The result says how the cluster is, and the records come with it whatever it is. */
function statCluster(facts: ClusterFacts, request: Request): Answer {
  const { nodeCount: room } = clusterRequest.decode(request.header);
  if (room > NODES_ASKED_MAX) return answerOf(Result.INVALID_PARMS);
  const strideBytes = epochLog.sizeBytes + room * sdNode.sizeBytes;
  const fitting = Math.floor(Math.min(roomOf(request), ANSWER_BYTES_MAX) / strideBytes);
  const cluster = facts.describe();
  const epochs = cluster.epochs.slice(0, fitting);
  if (room > 0 && epochs.some((record) => record.nodes.length > room)) return answerOf(Result.BUFFER_SMALL);
  const payload = Buffer.alloc(epochs.length * strideBytes);
  epochs.forEach((record, i) => {
    const offset = i * strideBytes;
    encodeEpoch(record, room, payload, offset);
    if (i === 0) addSettings(facts, cluster, payload, offset);
  });
  return { result: resultOfState[cluster.state], payload };
}

function encodeEpoch(record: EpochFacts, room: number, target: Buffer, offset: number): void {
  const { epoch, wallMs } = record;
  // A client walks as many nodes as the record says: none when there is no room for any.
  const nodes = inOrder(record.nodes).slice(0, room);
  epochLog.encodeInto({ time: secondsOf(wallMs), epoch, nodeCount: nodes.length }, target, offset);
  nodes.forEach((node, i) => {
    encodeNode(node, target, offset + epochLog.sizeBytes + i * sdNode.sizeBytes);
  });
}

/** The first record says how the cluster is set up, too. */
function addSettings(
  { driverName }: ClusterFacts,
  { createdMs, copies, flags, recoveryDisabled }: ClusterDescription,
  target: Buffer,
  offset: number,
): void {
  const disableRecovery = Number(recoveryDisabled ?? false);
  const settings = { ctime: encodeTime(createdMs), copies, flags, driverName, disableRecovery };
  epochLog.encodeInto({ ...epochLog.decode(target, offset), ...settings }, target, offset);
}

function clusterInfo(cluster: ClusterDescription): Buffer {
  const { state, createdMs, copies, blockSizeShift, flags } = cluster;
  const [newest] = cluster.epochs;
  const nodes = inOrder(newest?.nodes ?? []).slice(0, CLUSTER_INFO_NODES);
  const out = Buffer.alloc(CLUSTER_INFO_BYTES);
  clusterInfoHead.encodeInto(
    {
      protoVersion: SHEEP_VERSION,
      nodeCount: nodes.length,
      epoch: newest?.epoch ?? 0,
      ctime: encodeTime(createdMs),
      flags,
      disableRecovery: Number(cluster.recoveryDisabled ?? false),
      copies,
      status: statusOfState[state],
      blockSizeShift,
      defaultStore: state === 'wait-for-format' ? '' : DEFAULT_STORE,
    },
    out,
  );
  nodes.forEach((node, i) => {
    encodeNode(node, out, clusterInfoHead.sizeBytes + i * sdNode.sizeBytes);
  });
  return out;
}

function epochMembers({ epochs }: ClusterDescription, request: Request): Answer {
  const { tgtEpoch } = objRequest.decode(request.header);
  const record = epochs.find(({ epoch }) => epoch === tgtEpoch);
  if (record === undefined) return answerOf(Result.NO_TAG);
  const nodesBytes = record.nodes.length * sdNode.sizeBytes;
  if (nodesBytes + 8 > roomOf(request)) return answerOf(Result.BUFFER_SMALL);
  const payload = Buffer.alloc(nodesBytes + 8);
  payload.set(encodeNodes(record.nodes, nodesBytes));
  payload.writeBigUInt64LE(secondsOf(record.wallMs), nodesBytes);
  return { result: Result.SUCCESS, payload };
}

function storeList(request: Request): Answer {
  const text = STORE_NAMES.map((name) => `${name} `).join('');
  const whole = Buffer.from(`${text}\0`, 'latin1');
  const payload = whole.subarray(0, roomOf(request));
  // Clients print it as a C string, also when it did not fit.
  if (payload.length > 0) payload[payload.length - 1] = 0;
  return { result: Result.SUCCESS, payload };
}

function secondsOf(wallMs: number): bigint {
  return BigInt(Math.floor(wallMs / 1000));
}
