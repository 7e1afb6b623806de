/**
 * Disks that come and go while the node runs. Each step is durable before the next; after a crash the set is the one
 * before or the one after, and a disk that was being emptied goes on being emptied.
 */
import { AppError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import type { Disk } from '../disk.js';
import { readSuperblock } from '../superblock.js';
import { markWaiting, readDiskRecord } from './disk-record.js';
import type { DiskSet } from './disk-set.js';
import type { Member } from './member.js';
import { prepareMoving } from './object-copy.js';
import { type DiskSetOptions, openMember } from './open-disk-set.js';

export interface DiskInfo {
  readonly name: string;
  readonly id: string;
  readonly state: 'active' | 'leaving';
  readonly totalBytes: number;
  readonly freeBytes: number;
  readonly usedBytes: number;
}

export interface DiskChangesOptions
  extends Pick<DiskSetOptions, 'clock' | 'log' | 'identity' | 'bootId' | 'limits' | 'newId'> {
  readonly set: DiskSet;
  /** A disk has left the set for good: it may be forgotten. */
  readonly onGone?: (name: string) => void;
}

export class DiskChanges {
  private readonly log: Logger;
  private busy: Promise<unknown> = Promise.resolve();

  constructor(private readonly options: DiskChangesOptions) {
    this.log = options.log.child('disks');
    for (const member of options.set.members) if (member.leaving) this.drain(member);
  }

  list(): DiskInfo[] {
    return this.options.set.members.map(({ name, id, leaving, figures }) => {
      const { totalBytes, freeBytes, usedBytes } = figures?.stats ?? {
        totalBytes: 0,
        freeBytes: 0,
        usedBytes: 0,
      };
      return { name, id, state: leaving ? 'leaving' : 'active', totalBytes, freeBytes, usedBytes };
    });
  }

  /**
   * Takes an empty disk into the set; objects move there in the background. AppError 'exists' (it is one of the set) |
   * 'invalid' (it holds a store) | those of openStore.
   */
  plug(name: string, disk: Disk): Promise<void> {
    return this.inTurn(async () => {
      const { set, newId } = this.options;
      if (set.members.some((member) => member.name === name)) {
        throw new AppError('exists', `${name} is a disk of this node already`);
      }
      const found = readDiskRecord(disk);
      const isNew = found === undefined || found.generation === 0;
      if (!isNew || (found === undefined && readSuperblock(disk) !== undefined)) {
        throw new AppError('invalid', `${name} holds objects of an earlier time`);
      }
      const id = found?.id ?? newId();
      await markWaiting(disk, id);
      const member = await openMember(this.options, { name, disk }, id);
      for (const each of [...set.members, member]) await prepareMoving(each.disk);
      // One disk alone had no record: without one it would not be known again beside another that has one.
      for (const each of set.members) if (!readDiskRecord(each.disk)) await markWaiting(each.disk, each.id);
      await set.roster.record.save([member]);
      set.include(member);
      this.log.info({ disk: name }, 'a disk was taken in');
    });
  }

  /**
   * Begins to empty a disk, which then leaves the set; by force it leaves at once, and the cluster makes up for what
   * was on it. AppError 'missing' (no such disk) | 'invalid' (the last one) | 'no-space' (the others cannot take it).
   */
  unplug(name: string, force: boolean): Promise<void> {
    return this.inTurn(async () => {
      const { set } = this.options;
      const member = set.members.find((each) => each.name === name);
      if (member === undefined) throw new AppError('missing', `${name} is not a disk of this node`);
      const others = set.members.filter((each) => each !== member && !each.leaving);
      if (others.length === 0) throw new AppError('invalid', `${name} is the last disk of this node`);
      if (force) {
        set.roster.drop(member, new AppError('io', 'it was taken out by force'));
        await set.roster.record.save();
        this.options.onGone?.(name);
        return;
      }
      if (member.leaving) return;
      checkRoom(member, others);
      member.leaving = true;
      await set.roster.record.save();
      this.drain(member);
    });
  }

  /** Takes back an unplug that has not ended yet. */
  keep(name: string): Promise<void> {
    return this.inTurn(async () => {
      const member = this.options.set.members.find((each) => each.name === name && each.leaving);
      if (member === undefined) throw new AppError('missing', `${name} is not being taken out`);
      member.leaving = false;
      await this.options.set.roster.record.save();
      this.options.set.rebalancer.wake();
    });
  }

  private drain(member: Member): void {
    const { set } = this.options;
    const work = async () => {
      this.log.info({ disk: member.name }, 'a disk is being emptied');
      if (!(await set.rebalancer.empty(member, () => member.leaving))) {
        if (member.live && member.leaving)
          this.log.warn({ disk: member.name }, 'a disk could not be emptied');
        return;
      }
      await this.inTurn(() => this.takeOut(member));
    };
    work().catch((error) => {
      this.log.warn({ disk: member.name, err: AppError.from(error).message }, 'a disk could not be emptied');
    });
  }

  /** It has no objects any more. What it knows of objects that were there goes to the others first. */
  private async takeOut(member: Member): Promise<void> {
    const { set } = this.options;
    if (!member.live || !member.leaving) return;
    set.roster.retire(member, true);
    // What was under way there is over afterwards, and noted.
    await member.store.checkpoint();
    for await (const _ of member.store.objects()) {
      set.roster.retire(member, false);
      return this.drain(member);
    }
    await this.handOverNotes(member);
    set.roster.exclude(member);
    await set.roster.record.save();
    await member.store.close().catch(() => {});
    this.log.info({ disk: member.name }, 'a disk was taken out');
    this.options.onGone?.(member.name);
  }

  private async handOverNotes(member: Member): Promise<void> {
    const other = this.options.set.members.find((each) => each !== member && !each.leaving);
    if (other === undefined) throw new AppError('again', 'no disk is left to take its records');
    const { touched } = member.store.context;
    const epochs = touched.epochs();
    // Straight into the list: the store itself would think that what has the epoch is noted already.
    const notes = other.store.context.touched;
    for (const epoch of epochs) {
      const oids = new Set<bigint>();
      touched.readInto(epoch, oids);
      for (const oid of oids) notes.add(oid, epoch);
    }
    await notes.sync(epochs);
    await other.store.addSuspects(member.store.suspects(), (oid) => member.store.mayBeTorn(oid));
  }

  /** One change of the set after the other. */
  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.busy.catch(() => {}).then(work);
    this.busy = done;
    return done;
  }
}

function checkRoom(member: Member, others: readonly Member[]): void {
  const { usedBytes } = member.store.stats();
  let roomBytes = 0;
  const devices = new Set<number>();
  for (const { disk, store } of others) {
    const { freeBytes, device } = disk.space();
    if (device !== undefined && devices.has(device)) continue;
    if (device !== undefined) devices.add(device);
    roomBytes += Math.max(0, freeBytes - store.context.space.reserveBytes);
  }
  if (roomBytes >= usedBytes) return;
  const text = `its ${usedBytes} bytes do not fit on the other disks, which have room for ${roomBytes}`;
  throw new AppError('no-space', `${member.name} cannot be emptied: ${text}`);
}
