import { AppError } from '../../base/errors.js';
import type { KeyValue } from '../coordinator.js';
import type { EtcdAddress } from './address.js';
import type { Members } from './members.js';
import type { RangeResponse, WireKeyValue } from './messages.js';
import { prefixRange } from './txn-request.js';

/** Keys are read in pages of this many, all at one revision. */
const PAGE_KEYS = 1000;
/** A listing that a compaction overtakes is begun anew, this often. */
const LISTINGS_MAX = 5;

/**
 * Where a cluster's keys are in etcd:
 *
 * | Key                         | Value, and what it is attached to                                               |
 * | --------------------------- | ------------------------------------------------------------------------------- |
 * | `/sheepfold/NAME/keys/KEY`  | what the coordinator's users put under KEY; attached to lease ID, if to any     |
 * | `/sheepfold/NAME/lease/ID`  | lease ID (hexadecimal): `TTLMS HOLDER`; attached to it. Put again at each revival |
 * | `/sheepfold/NAME/alive/ID`  | there while the holder is heard; attached to a short etcd lease of its own      |
 * | `/sheepfold/NAME/over/ID`   | lease ID is about to be ended, it cannot be revived; attached to it             |
 */
export interface KeySpace {
  readonly all: string;
  readonly keys: string;
  readonly lease: string;
  readonly alive: string;
  readonly over: string;
}

export function keySpaceOf({ cluster }: Pick<EtcdAddress, 'cluster'>): KeySpace {
  const all = `/sheepfold/${cluster}/`;
  return { all, keys: `${all}keys/`, lease: `${all}lease/`, alive: `${all}alive/`, over: `${all}over/` };
}

export function leaseText(ttlMs: number, holder: string): string {
  return `${ttlMs} ${holder}`;
}

export function parseLeaseText(text: string): { ttlMs: number; holder: string } {
  const at = text.indexOf(' ');
  return { ttlMs: Number(text.slice(0, at)), holder: text.slice(at + 1) };
}

/** A key as the users know it. */
export function keyValueFrom(wire: WireKeyValue, prefix: string): KeyValue {
  return {
    key: wire.key.toString().slice(prefix.length),
    value: wire.value.toString(),
    modRevision: Number(wire.modRevision),
    createRevision: Number(wire.createRevision),
    ...(wire.lease !== '0' && { lease: leaseIdFrom(wire.lease) }),
  };
}

/** Hexadecimal, as etcdctl shows it. */
export function leaseIdFrom(wire: string): string {
  return BigInt(wire).toString(16);
}

export interface Listing {
  readonly kvs: WireKeyValue[];
  readonly revision: number;
  readonly clusterId: string;
}

/** All keys under a prefix as they were at one revision, not older than the call. */
export async function listAll(members: Members, prefix: string, limitMs?: number): Promise<Listing> {
  const options = limitMs === undefined ? {} : { limitMs };
  for (let listings = 1; ; listings++) {
    try {
      return await listOnce(members, prefix, options);
    } catch (error) {
      if (!AppError.isCode(error, 'again') || listings === LISTINGS_MAX) throw error;
    }
  }
}

async function listOnce(members: Members, prefix: string, options: { limitMs?: number }): Promise<Listing> {
  const { key, rangeEnd } = prefixRange(prefix);
  const kvs: WireKeyValue[] = [];
  let from = key;
  let first: RangeResponse | undefined;
  for (;;) {
    const at = first === undefined ? {} : { revision: Number(first.header.revision) };
    const request = { key: from, rangeEnd, limit: PAGE_KEYS, ...at };
    const page = await members.repeatable<RangeResponse>('range', request, options);
    first ??= page;
    for (const kv of page.kvs) kvs.push(kv);
    if (!page.more) break;
    from = Buffer.concat([page.kvs.at(-1)!.key, Buffer.alloc(1)]);
  }
  return { kvs, revision: Number(first.header.revision), clusterId: first.header.clusterId };
}
