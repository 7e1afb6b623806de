import { AppError } from '../base/errors.js';
import type { Directory } from '../volume/directory.js';
import type { OwnedVolume } from '../volume/owned-volume.js';
import type { VolumeService } from '../volume/volume-service.js';
import { DATA_OBJECTS_MAX, VID_COUNT } from '../wire/oid.js';
import * as check from './params.js';

/**
 * Calls that the sheepdog door makes where a volume is owned. They name the version that its client means; when the
 * volume goes on as another one they are refused with 'read-only'.
 */
export class VersionCalls {
  constructor(
    private readonly service: VolumeService,
    private readonly directory: Directory,
  ) {}

  static handles(method: string): boolean {
    return method.startsWith('version.');
  }

  async call(
    method: string,
    owned: OwnedVolume,
    fields: check.Fields,
  ): Promise<{ result: unknown; blob?: Uint8Array }> {
    switch (method) {
      case 'version.index':
        return this.index(owned, fields);
      case 'version.mark':
        return this.mark(owned, fields);
      case 'version.grow': {
        this.checkCurrent(owned, fields);
        const { blockSizeShift, sizeBytes } = owned.device.record;
        const wanted = check.checkSizeBytes(fields.sizeBytes, blockSizeShift);
        if (wanted > sizeBytes) await this.service.resize(owned, wanted);
        return { result: {} };
      }
      case 'version.copies':
        await this.service.noteCopies(owned, this.vid(fields), check.checkCopies(fields.copies));
        return { result: {} };
      case 'version.vmstate':
        await this.service.reserveVmObjects(
          owned,
          this.vid(fields),
          check.checkInteger(fields.objects, 'objects', 1, DATA_OBJECTS_MAX),
        );
        return { result: {} };
      case 'version.next':
        return { result: { vid: await this.next(owned, fields) } };
      case 'version.forget': {
        const record = await this.service.removal.forget(
          { name: check.checkText(fields.name, 'name', check.NAME_BYTES_MAX) },
          owned,
        );
        this.service.removal.freeLater(record.vid);
        return { result: { vid: record.vid } };
      }
      default:
        throw new AppError('not-supported', `control method ${method} is not known here`);
    }
  }

  /** A snapshot (or, without a snapId, an image) has no owner: any sheep deletes it. Its room is freed afterwards. */
  async forgetSnapshot(fields: check.Fields): Promise<{ result: unknown }> {
    const name = check.checkText(fields.name, 'name', check.NAME_BYTES_MAX);
    const which = fields.snapId === undefined ? { name } : { name, snapId: check.checkSnapId(fields.snapId) };
    const record = await this.service.removal.forget(which, undefined);
    this.service.removal.freeLater(record.vid);
    return { result: { vid: record.vid } };
  }

  private vid(fields: check.Fields): number {
    return check.checkInteger(fields.vid, 'vid', 1, VID_COUNT - 1);
  }

  private checkCurrent(owned: OwnedVolume, fields: check.Fields): void {
    if (owned.device.record.vid !== this.vid(fields)) {
      throw new AppError('read-only', 'the volume goes on as another version');
    }
  }

  /** A whole index fits into one message between two sheep. */
  private index(owned: OwnedVolume, fields: check.Fields): { result: unknown; blob?: Uint8Array } {
    if (owned.device.record.vid !== this.vid(fields)) return { result: { current: false } };
    const from = check.checkInteger(fields.from, 'from', 0, DATA_OBJECTS_MAX);
    const count = check.checkInteger(fields.count, 'count', 0, DATA_OBJECTS_MAX);
    const entries = new Uint32Array(count);
    entries.set(owned.device.index.entries.subarray(from, from + count));
    return { result: { current: true }, blob: new Uint8Array(entries.buffer) };
  }

  private async mark(owned: OwnedVolume, fields: check.Fields): Promise<{ result: unknown }> {
    const { tag, vmStateBytes, vmClockNs } = fields;
    if (tag !== undefined && (typeof tag !== 'string' || Buffer.byteLength(tag) > check.TAG_BYTES_MAX + 1)) {
      throw new AppError('invalid', 'tag must be a text');
    }
    if (vmClockNs !== undefined && !/^\d{1,20}$/.test(String(vmClockNs))) {
      throw new AppError('invalid', 'vmClockNs must be digits');
    }
    const max = Number.MAX_SAFE_INTEGER;
    await this.service.mark(owned, this.vid(fields), {
      tag,
      vmStateBytes: check.checkOptionalInteger(vmStateBytes, 'vmStateBytes', 0, max),
      vmClockNs: vmClockNs === undefined ? undefined : String(vmClockNs),
    });
    return { result: {} };
  }

  /** A snapshot of what is there, which goes on from it, or from the older snapshot `base`. Returns the new vid. */
  private async next(owned: OwnedVolume, fields: check.Fields): Promise<number> {
    const base = check.checkInteger(fields.base, 'base', 1, VID_COUNT - 1);
    if (base === owned.device.record.vid) return (await this.service.snapshot(owned)).working.vid;
    const record = this.directory.vdi(base);
    if (record === undefined || record.state !== 'live') throw new AppError('no-vdi', 'No base VDI found');
    return (await this.service.rebase(owned, record)).vid;
  }
}
