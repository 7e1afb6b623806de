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
 * | Key                            | Value                                                              |
 * | ------------------------------ | ------------------------------------------------------------------ |
 * | `/sheepfold/NAME/keys/KEY`     | what the coordinator's users put under KEY                         |
 * | `/sheepfold/NAME/leases/ID`    | the process that holds the lease ID (hexadecimal); goes with it    |
 */
export interface KeySpace {
  readonly all: string;
  readonly keys: string;
  readonly leases: string;
}

export function keySpaceOf({ cluster }: Pick<EtcdAddress, 'cluster'>): KeySpace {
  const all = `/sheepfold/${cluster}/`;
  return { all, keys: `${all}keys/`, leases: `${all}leases/` };
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
