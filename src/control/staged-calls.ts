import { AppError } from '../base/errors.js';
import type { OwnedVolume } from '../volume/owned-volume.js';
import type { VdiRecord } from '../volume/records.js';
import type { Staged, Staging } from '../volume/staging.js';
import { DATA_OBJECTS_MAX } from '../wire/oid.js';
import { vdiBytesMax } from '../wire/sheepdog.js';
import type { ControlCaller, ControlResult, VdiInfo } from './api.js';
import * as check from './params.js';

export interface StagedCallsOptions {
  readonly staging: Staging;
  readonly defaults: () => { copies: number; blockSizeShift: number };
  readonly describe: (record: VdiRecord) => Promise<VdiInfo>;
  /** Runs a change where the volume is owned, which may be another sheep: then it is called there by its name. */
  readonly onOwner: (
    name: string,
    method: string,
    params: unknown,
    work: (owned: OwnedVolume) => Promise<{ result: unknown }>,
  ) => Promise<{ result: unknown }>;
}

/** The control calls of images and restored backups: whatever arrives in many calls and appears all at once. */
export class StagedCalls {
  constructor(private readonly options: StagedCallsOptions) {}

  async call(
    method: string,
    fields: check.Fields,
    blob: Uint8Array,
    caller: ControlCaller | undefined,
  ): Promise<{ result: unknown } | undefined> {
    const { staging } = this.options;
    switch (method) {
      case 'image.begin':
        return { result: await this.beginImage(fields, caller) };
      case 'image.commit':
        return { result: await this.commitImage(fields) };
      case 'restore.begin':
        return { result: await this.beginRestore(fields, caller) };
      case 'restore.commit':
        return { result: await this.commitRestore(staging.get(idOf(fields)), fields) };
      case 'stage.write':
        await this.write(staging.get(idOf(fields)), fields, blob);
        return { result: {} };
      case 'stage.abort':
        await staging.abort(idOf(fields));
        return { result: {} };
      case 'internal.attach':
        return this.attach(fields);
      default:
        return undefined;
    }
  }

  private async beginImage(
    fields: check.Fields,
    caller: ControlCaller | undefined,
  ): Promise<ControlResult<'image.begin'>> {
    const { defaults, staging } = this.options;
    const blockSizeShift = check.checkBlockSizeShift(fields.blockSizeShift) ?? defaults().blockSizeShift;
    const sizeBytes =
      fields.sizeBytes === undefined
        ? vdiBytesMax(blockSizeShift)
        : Math.min(
            Math.ceil(check.checkSizeBytes(fields.sizeBytes, blockSizeShift) / 512) * 512,
            vdiBytesMax(blockSizeShift),
          );
    const copies = fields.copies === undefined ? defaults().copies : check.checkCopies(fields.copies);
    const name = check.checkName(fields.name);
    const shape = { sizeBytes, copies, blockSizeShift };
    const { id } = await this.begin(caller, () => staging.beginImage(name, shape));
    return { id };
  }

  private async commitImage(fields: check.Fields): Promise<VdiInfo> {
    const { staging, describe } = this.options;
    const { sha256 } = fields;
    if (typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/.test(sha256)) {
      throw new AppError('invalid', 'sha256 must be 64 hexadecimal digits');
    }
    const contentBytes = check.checkInteger(fields.contentBytes, 'contentBytes', 1, Number.MAX_SAFE_INTEGER);
    return describe(await staging.publishImage(idOf(fields), contentBytes, sha256));
  }

  /** An upload ends with its client's connection. */
  private async begin(caller: ControlCaller | undefined, work: () => Promise<Staged>): Promise<Staged> {
    const { staging } = this.options;
    let isGone = false;
    let staged: Staged | undefined;
    // When the cluster does not answer now, the sweep finds it, at the latest after the end of this sheep.
    const giveUp = () => staged && staging.abort(staged.id).catch(() => {});
    caller?.onClose?.(() => {
      isGone = true;
      void giveUp();
    });
    staged = await work();
    if (isGone) await giveUp();
    return staged;
  }

  private async beginRestore(
    fields: check.Fields,
    caller: ControlCaller | undefined,
  ): Promise<ControlResult<'restore.begin'>> {
    const ref = check.checkVdiRef(fields);
    const wanted = check.checkOptionalInteger(fields.sizeBytes, 'sizeBytes', 1, Number.MAX_SAFE_INTEGER);
    const { staging } = this.options;
    const { id, record } = await this.begin(caller, () => staging.beginRestore(ref, wanted));
    return { id, sizeBytes: record.sizeBytes, blockSizeShift: record.blockSizeShift };
  }

  private async commitRestore(staged: Staged, fields: check.Fields): Promise<VdiInfo> {
    const { staging, describe } = this.options;
    const { base, record, name, id } = staged;
    if (base === undefined) throw new AppError('invalid', 'this upload is an image');
    const sizeBytes = check.checkInteger(fields.sizeBytes, 'sizeBytes', base.sizeBytes, record.sizeBytes);
    const finished = await staging.finish(staged, sizeBytes);
    const params = { name, vid: record.vid, ...finished };
    const attached = await this.attach(params);
    staging.attached(id);
    return describe(attached.result as VdiRecord);
  }

  /** Carried to the owner, whose answer is the record of the new snapshot. */
  private attach(fields: check.Fields): Promise<{ result: unknown }> {
    const name = check.checkName(fields.name);
    const vid = check.checkInteger(fields.vid, 'vid', 1, 0xffffff);
    const sizeBytes = check.checkInteger(fields.sizeBytes, 'sizeBytes', 1, Number.MAX_SAFE_INTEGER);
    const usage = check.checkFields(fields.usage);
    const own = check.checkInteger(usage.own, 'own', 0, DATA_OBJECTS_MAX);
    const shared = check.checkInteger(usage.shared, 'shared', 0, DATA_OBJECTS_MAX);
    const loose = check.checkOptionalBoolean(fields.loose, 'loose') && { loose: true as const };
    const finished = { sizeBytes, usage: { own, shared }, ...loose };
    return this.options.onOwner(name, 'internal.attach', { name, vid, ...finished }, async (owned) => ({
      result: await this.options.staging.attach(owned, vid, finished),
    }));
  }

  private async write(staged: Staged, fields: check.Fields, blob: Uint8Array): Promise<void> {
    if (blob.length === 0) return;
    const { offset } = check.checkRange(fields.offset, blob.length);
    if (offset + blob.length > staged.record.sizeBytes) {
      throw new AppError('invalid', `the write ends beyond ${staged.record.sizeBytes} bytes`);
    }
    try {
      await staged.device.write(offset, blob);
    } catch (error) {
      if (!AppError.isCode(error, 'again')) throw error;
      throw new AppError('network', 'the sheep lost its place in the cluster for a moment; start again', {
        cause: error,
      });
    }
  }
}

function idOf(fields: check.Fields): string {
  if (typeof fields.id !== 'string') throw new AppError('invalid', 'id is missing');
  return fields.id;
}
