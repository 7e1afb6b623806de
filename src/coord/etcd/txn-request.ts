import { AppError } from '../../base/errors.js';
import type { Compare, Op } from '../coordinator.js';
import type { RequestOp, TxnRequest, WireCompare } from './messages.js';

/**
 * etcd refuses transactions in which the larger number of comparisons and operations, added up from the outermost
 * level to an innermost one, is more than this (its --max-txn-ops).
 */
const DEPTH_MAX = 128;

const EQUAL = 0;
const GREATER = 1;
const CREATE = 1;
const MODIFIED = 2;
const VALUE = 3;

/** The range of keys that begin with a prefix: [key, rangeEnd). The whole store for ''. */
export function prefixRange(prefix: string): { key: Buffer; rangeEnd: Buffer } {
  const key = Buffer.from(prefix);
  for (let at = key.length - 1; at >= 0; at--) {
    if (key[at]! === 0xff) continue;
    const rangeEnd = Buffer.from(key.subarray(0, at + 1));
    rangeEnd[at]! += 1;
    return { key, rangeEnd };
  }
  const zero = Buffer.alloc(1);
  return { key: key.length > 0 ? key : zero, rangeEnd: zero };
}

/**
 * A transaction in etcd's words. etcd refuses to change one key twice in a transaction, and limits how many
 * operations one level of it may have. So operations that a later one undoes are left out, ranges that are deleted
 * leave out keys that are put afterwards, and operations that do not fit one level go into nested transactions.
 * Throws AppError 'invalid' when it is larger than that allows (with 100 comparisons, more than 2,800 operations).
 */
export function txnRequest(prefix: string, compares: readonly Compare[], ops: readonly Op[]): TxnRequest {
  const wireOps = lastOnly(ops).flatMap((op) => wireOp(prefix, op));
  const wireCompares = compares.map((compare) => wireCompare(prefix, compare));
  return { compare: wireCompares, success: nested(wireOps, wireCompares.length) };
}

type LastOp = Op | { type: 'delete-prefix'; prefix: string; except: string[] };

/** Only the last operation on a key counts; deleted prefixes do not overlap, and know what is put under them later. */
function lastOnly(ops: readonly Op[]): LastOp[] {
  const single = new Map<string, Op>();
  let prefixes: string[] = [];
  for (const op of ops) {
    if (op.type !== 'delete-prefix') {
      single.set(op.key, op);
      continue;
    }
    for (const key of [...single.keys()]) if (key.startsWith(op.prefix)) single.delete(key);
    if (prefixes.some((prefix) => op.prefix.startsWith(prefix))) continue;
    prefixes = [...prefixes.filter((prefix) => !prefix.startsWith(op.prefix)), op.prefix];
  }
  const kept = [...single.values()].filter(
    (op) => op.type === 'put' || !prefixes.some((prefix) => keyOf(op).startsWith(prefix)),
  );
  const putKeys = kept.filter((op) => op.type === 'put').map(keyOf);
  const ranges = prefixes.map((prefix) => {
    return {
      type: 'delete-prefix' as const,
      prefix,
      except: putKeys.filter((key) => key.startsWith(prefix)),
    };
  });
  return [...ranges, ...kept];
}

function keyOf(op: Op): string {
  return op.type === 'delete-prefix' ? op.prefix : op.key;
}

function wireOp(prefix: string, op: LastOp): RequestOp[] {
  if (op.type === 'delete') return [{ requestDeleteRange: { key: Buffer.from(prefix + op.key) } }];
  if (op.type === 'put') {
    const key = Buffer.from(prefix + op.key);
    const lease = op.lease === undefined ? {} : { lease: BigInt(`0x${op.lease}`).toString() };
    return [{ requestPut: { key, value: Buffer.from(op.value), ...lease } }];
  }
  const whole = prefixRange(prefix + op.prefix);
  const except = ('except' in op ? op.except : []).map((key) => Buffer.from(prefix + key));
  except.sort(Buffer.compare);
  const starts = [whole.key, ...except.map((key) => Buffer.concat([key, Buffer.alloc(1)]))];
  const ends = [...except, whole.rangeEnd];
  return starts.flatMap((key, i) => {
    const rangeEnd = ends[i]!;
    return key.equals(rangeEnd) ? [] : [{ requestDeleteRange: { key, rangeEnd } }];
  });
}

/** A key that is not there has all its revisions 0, and no value that equals anything. */
function wireCompare(prefix: string, compare: Compare): WireCompare {
  const key = Buffer.from(prefix + compare.key);
  if ('value' in compare) return { result: EQUAL, target: VALUE, key, value: Buffer.from(compare.value) };
  if ('modRevision' in compare) {
    return { result: EQUAL, target: MODIFIED, key, modRevision: compare.modRevision };
  }
  return { result: compare.exists ? GREATER : EQUAL, target: CREATE, key, createRevision: 0 };
}

function nested(ops: RequestOp[], compares: number): RequestOp[] {
  if (Math.max(ops.length, compares) <= DEPTH_MAX) return ops;
  let size = DEPTH_MAX - 1;
  while (size > 0 && Math.max(compares, Math.ceil(ops.length / size)) + size > DEPTH_MAX) size--;
  if (size === 0) throw new AppError('invalid', 'too many comparisons or keys in one transaction');
  const groups: RequestOp[] = [];
  for (let from = 0; from < ops.length; from += size) {
    groups.push({ requestTxn: { compare: [], success: ops.slice(from, from + size) } });
  }
  return groups;
}
