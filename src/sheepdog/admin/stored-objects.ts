/**
 * Questions about single objects, which the original's sheep and its `dog vdi check` ask of the nodes they believe to
 * hold them (reference, 2.6). Objects lie elsewhere here, so any node answers for any object of the cluster, with what
 * its replicas agree on: such a check finds every object healthy. The epochs of these requests mean nothing here.
 *
 *   EXIST, OIDS_EXIST   whether the cluster has the object(s); a list of the missing ones comes back
 *   GET_HASH            SHA-1 over the whole object
 *   READ_PEER           bytes of the object, exactly as many as asked
 *   REPAIR_REPLICA      nothing is copied: replicas are kept equal, and bad blocks repaired, by the cluster itself
 *   GET_OBJ_LIST        u64 ids of what this node stores
 */
import { forEachLimit } from '../../base/signal.js';
import { forwRequest, hashResponse, objRequest } from '../../wire/headers.js';
import { Flag, Op, Result } from '../../wire/sheepdog.js';
import type { Answer, Request } from '../operation.js';
import {
  ANSWER_BYTES_MAX,
  answerOf,
  hasPayload,
  invalid,
  type OperationTable,
  roomOf,
  success,
} from './answers.js';
import type { ClusterFacts, ObjectFacts } from './cluster-facts.js';

const OID_BYTES = 8;
/** Objects looked up at the same time for one request. */
const PARALLEL = 16;

export function storedObjectOperations({ objects }: ClusterFacts): OperationTable {
  return [
    [Op.EXIST, (request) => exist(objects, oidOf(request))],
    [Op.OIDS_EXIST, (request) => oidsExist(objects, request)],
    [Op.GET_HASH, (request) => getHash(objects, oidOf(request))],
    [Op.READ_PEER, (request) => readPeer(objects, request)],
    [Op.REPAIR_REPLICA, (request) => exist(objects, forwRequest.decode(request.header).oid)],
    [Op.GET_OBJ_LIST, (request) => objectList(objects, request)],
  ];
}

function oidOf(request: Request): bigint {
  return objRequest.decode(request.header).oid;
}

async function exist(objects: ObjectFacts, oid: bigint): Promise<Answer> {
  return (await objects.sizeOf(oid)) === undefined ? answerOf(Result.NO_OBJ) : success;
}

/** The missing ones in the order in which they were asked for. */
async function oidsExist(objects: ObjectFacts, request: Request): Promise<Answer> {
  const { payload } = request;
  const bothWays = hasPayload(request) && (request.flags & Flag.PIGGYBACK) !== 0;
  if (!bothWays || payload.length % OID_BYTES !== 0) return invalid;
  const count = payload.length / OID_BYTES;
  const isMissing = new Uint8Array(count);
  await forEachLimit(isMissing.keys(), PARALLEL, async (i) => {
    if ((await objects.sizeOf(payload.readBigUInt64LE(i * OID_BYTES))) === undefined) isMissing[i] = 1;
  });
  const places = [...isMissing.keys()].filter((i) => isMissing[i] === 1);
  if (places.length === 0) return success;
  const missing = Buffer.alloc(places.length * OID_BYTES);
  places.forEach((from, to) => {
    payload.copy(missing, to * OID_BYTES, from * OID_BYTES, (from + 1) * OID_BYTES);
  });
  return { result: Result.NO_OBJ, payload: missing };
}

async function getHash(objects: ObjectFacts, oid: bigint): Promise<Answer> {
  const digest = await objects.hash(oid);
  if (digest === undefined) return answerOf(Result.NO_OBJ);
  return { result: Result.SUCCESS, header: hashResponse.encode({ digest: Buffer.from(digest) }) };
}

async function readPeer(objects: ObjectFacts, request: Request): Promise<Answer> {
  const { oid, offset, offsetHigh } = objRequest.decode(request.header);
  const length = roomOf(request);
  const sizeBytes = await objects.sizeOf(oid);
  if (sizeBytes === undefined) return answerOf(Result.NO_OBJ);
  if (hasPayload(request) || length > ANSWER_BYTES_MAX) return invalid;
  if (offsetHigh !== 0 || offset + length > sizeBytes) return invalid;
  const payload = await objects.read(oid, offset, length);
  return payload === undefined ? answerOf(Result.NO_OBJ) : { result: Result.SUCCESS, payload };
}

async function objectList(objects: ObjectFacts, request: Request): Promise<Answer> {
  const roomBytes = Math.min(roomOf(request), ANSWER_BYTES_MAX);
  const oids: bigint[] = [];
  for await (const oid of objects.stored()) {
    if ((oids.length + 1) * OID_BYTES > roomBytes) return answerOf(Result.BUFFER_SMALL);
    oids.push(oid);
  }
  return { result: Result.SUCCESS, payload: Buffer.from(BigUint64Array.from(oids).buffer) };
}
