import { AppError } from '../base/errors.js';
import type { ObjectAddress } from '../cluster/epochs/address.js';
import type { EpochRecord } from '../cluster/epochs/epoch.js';
import { committedRing } from '../cluster/epochs/placement-rings.js';
import { placementIds } from '../cluster/epochs/ring.js';
import { CheckMode } from '../cluster/objects/checker.js';
import { addressIn } from '../volume/directory.js';
import { objectCount, readIndexEntry } from '../volume/volume-index.js';
import { sdHashOid } from '../wire/hash.js';
import { dataOid, formatOid, inodeOid, invalidOid, parseOid, placementOid, vidOf } from '../wire/oid.js';
import type { ControlProgress, ControlResult } from './api.js';
import * as check from './params.js';
import { VolumeCheck, type VolumeCheckOptions } from './volume-check.js';

const INODE_INDEX = -1;

const { compare, repair, existence } = CheckMode;
const modes: Readonly<Record<string, number>> = { compare, repair, existence };

export interface CheckCallsOptions extends VolumeCheckOptions {
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
    const inherited =
      fields.inherited === undefined || check.checkOptionalBoolean(fields.inherited, 'inherited');
    const record = await this.options.directory.findNow(check.checkVdiRef(fields));
    return new VolumeCheck(this.options, record, mode, inherited, onProgress).run();
  }

  private async track(fields: check.Fields): Promise<ControlResult<'vdi.track'>> {
    const address = await this.addressOf(fields);
    const hash = sdHashOid(placementOid(address.oid, address.root));
    const records = this.options.epochs();
    const root = address.root.toString(16);
    // Before its copies were altered they were what the first epoch says that knows of it.
    const first = records.findLast((record) => record.families?.[root] !== undefined)?.families?.[root];
    const copiesIn = (record: EpochRecord) => (record.families?.[root] ?? first)?.copies ?? address.copies;
    const epochs = records.map((record) => {
      const members = new Map(record.nodes.map((node) => [node.id, node]));
      const ring = committedRing(record);
      const holders = placementIds(ring, hash, copiesIn(record)).map((id) => members.get(id)!);
      const up = holders.filter((node) => node.up).map(({ host, port }) => ({ host, port }));
      return { epoch: record.epoch, holders: up };
    });
    const copies = records[0] === undefined ? address.copies : copiesIn(records[0]);
    return { oid: formatOid(address.oid), vid: vidOf(address.oid), copies, epochs };
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
    const owner = await readIndexEntry(client, client.session(), record, index);
    return addressIn(record, dataOid(owner === 0 ? record.vid : owner, index));
  }
}
