import { type Clock, sleep } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import { forEachLimit } from '../base/signal.js';
import type { ObjectAddress } from '../cluster/address.js';
import { CheckMode } from '../cluster/checker.js';
import type { ClusterNode } from '../cluster/cluster-node.js';
import type { EpochRecord } from '../cluster/epoch.js';
import { buildRing, placementIds } from '../cluster/ring.js';
import { addressIn, type Directory } from '../volume/directory.js';
import type { VdiRecord } from '../volume/records.js';
import { objectCount, readIndex, readIndexEntry } from '../volume/volume-index.js';
import { sdHashOid } from '../wire/hash.js';
import {
  dataOid,
  formatOid,
  inodeOid,
  invalidOid,
  parseOid,
  placementOid,
  vidOf,
  vmstateOid,
} from '../wire/oid.js';
import type { CheckFinding, ControlProgress, ControlResult, NodeInfo } from './api.js';
import * as check from './params.js';

const PARALLEL = 8;
/** Findings in one answer: a list that nobody reads must not fill the memory (I-11). */
const FINDINGS_MAX = 10_000;
const INODE_INDEX = -1;
const VMSTATE_INDEX = -2;
/** A first write takes less, unless it waits for copies. */
const FIRST_WRITE_MS = 500;

const modes: Readonly<Record<string, number>> = CheckMode;

export interface CheckCallsOptions {
  readonly cluster: ClusterNode;
  readonly directory: Directory;
  readonly clock: Clock;
  readonly nodes: () => NodeInfo[];
  /** Newest first. */
  readonly epochs: () => readonly EpochRecord[];
}

/** The control calls that look at objects and their replicas. */
export class CheckCalls {
  constructor(private readonly options: CheckCallsOptions) {}

  async call(
    method: string,
    fields: check.Fields,
    onProgress: (progress: ControlProgress) => void,
  ): Promise<{ result: unknown } | undefined> {
    switch (method) {
      case 'vdi.check':
        return { result: await this.check(fields, onProgress) };
      case 'vdi.track':
        return { result: await this.track(fields) };
      default:
        return undefined;
    }
  }

  private async check(
    fields: check.Fields,
    onProgress: (progress: ControlProgress) => void,
  ): Promise<ControlResult<'vdi.check'>> {
    const mode = typeof fields.mode === 'string' ? modes[fields.mode] : undefined;
    if (mode === undefined) throw new AppError('invalid', 'mode must be compare, repair or existence');
    const record = await this.options.directory.findNow(check.checkVdiRef(fields));
    const objects = await this.objectsOf(record);
    const found: CheckFinding[] = [];
    const counts = { objects: objects.length, findings: 0, unchecked: 0 };
    let done = 0;
    await forEachLimit(objects, PARALLEL, async ({ oid, index }) => {
      const address = addressIn(record, oid);
      let finding = await this.checkOne(address, index, mode);
      if (finding?.outcome === 'lost' && (await this.refersTo(record, index, oid))) {
        finding = await this.checkOne(address, index, mode);
      } else if (finding?.outcome === 'lost') finding = undefined;
      // Asked afterwards: a sheep that died was waited for, until it did not belong to the cluster any more.
      if (this.isIncomplete(address)) counts.unchecked++;
      if (finding !== undefined && ++counts.findings <= FINDINGS_MAX) found.push(finding);
      onProgress({ done: ++done, total: objects.length, unit: 'objects' });
    });
    found.sort((a, b) => a.index - b.index);
    return { ...counts, found };
  }

  private async objectsOf(record: VdiRecord): Promise<{ oid: bigint; index: number }[]> {
    const { client } = this.options.cluster;
    const objects = [{ oid: inodeOid(record.vid), index: INODE_INDEX }];
    (await readIndex(client, client.session(), record)).forEach((owner, index) => {
      if (owner !== 0) objects.push({ oid: dataOid(owner, index), index });
    });
    for (let i = 0; i < (record.vmObjects ?? 0); i++) {
      objects.push({ oid: vmstateOid(record.vid, i), index: VMSTATE_INDEX });
    }
    return objects;
  }

  /**
   * A volume in use may have discarded the object since its index was read; and a first write puts an entry into the
   * index while it makes the object, so it gets a moment.
   */
  private async refersTo(record: VdiRecord, index: number, oid: bigint): Promise<boolean> {
    if (index === INODE_INDEX) return true;
    // Their numbers are reserved before they are made: some may never have been.
    if (index === VMSTATE_INDEX) return false;
    const { client } = this.options.cluster;
    await sleep(this.options.clock, FIRST_WRITE_MS);
    return (await readIndexEntry(client, client.session(), record, index)) === vidOf(oid);
  }

  private async checkOne(
    address: ObjectAddress,
    index: number,
    mode: number,
  ): Promise<CheckFinding | undefined> {
    const { client } = this.options.cluster;
    const oid = formatOid(address.oid);
    if (this.placementOf(address).serving.length === 0) {
      // Asking would wait until one of them is back.
      return { oid, index, outcome: 'unreachable', replicas: [] };
    }
    const { outcome, replicas } = await client.check(client.session(), address, mode);
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

  private async track(fields: check.Fields): Promise<ControlResult<'vdi.track'>> {
    const address = await this.addressOf(fields);
    const hash = sdHashOid(placementOid(address.oid, address.root));
    const epochs = this.options.epochs().map((record) => {
      const members = new Map(record.nodes.map((node) => [node.id, node]));
      const ring = buildRing(record.nodes.filter((node) => node.in));
      const holders = placementIds(ring, hash, address.copies).map((id) => members.get(id)!);
      const up = holders.filter((node) => node.up).map(({ host, port }) => ({ host, port }));
      return { epoch: record.epoch, holders: up };
    });
    return { oid: formatOid(address.oid), vid: vidOf(address.oid), copies: address.copies, epochs };
  }

  private async addressOf(fields: check.Fields): Promise<ObjectAddress> {
    const { directory, cluster } = this.options;
    if (typeof fields.oid === 'string') {
      const oid = parseOid(fields.oid);
      if (oid === undefined || invalidOid(oid) !== undefined)
        throw new AppError('invalid', 'not an object id');
      const address = await directory.resolve(oid);
      if (address === undefined) throw new AppError('no-object', 'no volume has this object');
      return address;
    }
    const record = await directory.findNow(check.checkVdiRef(fields));
    const index = check.checkInteger(fields.index, 'index', INODE_INDEX, objectCount(record) - 1);
    if (index === INODE_INDEX) return addressIn(record, inodeOid(record.vid));
    const { client } = cluster;
    const owner = (await readIndex(client, client.session(), record))[index]!;
    return addressIn(record, dataOid(owner === 0 ? record.vid : owner, index));
  }
}
