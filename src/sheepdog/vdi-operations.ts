import { AppError } from '../base/errors.js';
import type { VdiRecord } from '../volume/records.js';
import { clusterDefaultResponse, vdiRequest, vdiResponse } from '../wire/headers.js';
import { NAME_BYTES, TAG_BYTES } from '../wire/inode.js';
import { textUpToNul } from '../wire/layout.js';
import { COPIES_MAX, Flag, LockType, Op, Result, VDI_BITMAP_BYTES } from '../wire/sheepdog.js';
import type { HeldDiscards } from './held-discards.js';
import type { InodeView } from './inode-view.js';
import type { Openers } from './openers.js';
import type { Answer, Operation, Request } from './operation.js';
import { type DoorParts, isWorking, recordNow, untilDone, untilSettled } from './parts.js';

export interface VdiParts extends DoorParts {
  readonly openers: Openers;
  readonly inodes: InodeView;
  readonly held: HeldDiscards;
}

/** Names and versions of volumes (reference, sections 2.4 and 6). */
export class VdiOperations {
  constructor(private readonly parts: VdiParts) {}

  operations(): [number, Operation][] {
    const plain = (work: Operation): Operation => {
      return async (request) => {
        await this.parts.held.before(request.client, false);
        return work(request);
      };
    };
    return [
      [Op.NEW_VDI, plain((request) => this.create(request))],
      [Op.LOCK_VDI, plain((request) => this.lock(request))],
      [Op.RELEASE_VDI, plain((request) => this.release(request))],
      [Op.GET_VDI_INFO, plain((request) => this.info(request))],
      [Op.DEL_VDI, plain((request) => this.remove(request))],
      [Op.READ_VDIS, (request) => this.bitmap(request, 'used')],
      [Op.READ_DEL_VDIS, (request) => this.bitmap(request, 'deleted')],
      [Op.GET_CLUSTER_DEFAULT, () => this.clusterDefault()],
    ];
  }

  private async info(request: Request): Promise<Answer> {
    return described(await this.find(request));
  }

  /** Opens a volume. A snapshot is never locked: any number of clients read it (I-9). */
  private async lock(request: Request): Promise<Answer> {
    const { type } = vdiRequest.decode(request.header);
    if (type !== LockType.normal && type !== LockType.shared)
      throw new AppError('invalid', 'no such type of lock');
    const record = await this.find(request);
    if (!isWorking(this.parts, record)) return described(record);
    try {
      await untilSettled(this.parts, () =>
        this.parts.openers.lock(request.client, record.line, type === LockType.shared),
      );
    } catch (error) {
      if (!AppError.isCode(error, 'vdi-locked')) throw error;
      return { ...described(record), result: Result.VDI_LOCKED };
    }
    return described(record);
  }

  /**
   * Always succeeds. QEMU sends the volume's name along; without it this may be an administrator, who gives the
   * volume free whoever has it.
   */
  private async release(request: Request): Promise<Answer> {
    const { baseVid, type } = vdiRequest.decode(request.header);
    const record = await recordNow(this.parts, baseVid);
    if (record === undefined) return { result: Result.SUCCESS };
    const shared = type === LockType.shared;
    const released = await this.parts.openers.release(request.client, record.line, shared);
    if (!released && (request.flags & Flag.WRITE) === 0) {
      await this.parts.locks.unlock(record.line, (holder) => holder.shared === shared);
    }
    return { result: Result.SUCCESS };
  }

  private async create(request: Request): Promise<Answer> {
    if (request.payload.length !== NAME_BYTES) throw new AppError('invalid', 'a name has 256 bytes');
    const name = textOf(request.payload);
    const asked = vdiRequest.decode(request.header);
    if (name === undefined || name === '') throw new AppError('invalid', 'the volume needs a name');
    if (asked.storePolicy !== 0 || asked.copyPolicy !== 0 || asked.copies > COPIES_MAX) {
      this.parts.log.info({ name }, 'refused: hyper volumes and erasure coding are not offered');
      throw new AppError('invalid', 'hyper volumes and erasure coding are not offered');
    }
    const vid =
      asked.snapId === 0 ? await this.createFresh(name, asked) : await this.next(name, asked.baseVid);
    if (typeof vid !== 'number') return vid;
    const record = await recordNow(this.parts, vid);
    if (record === undefined) throw new AppError('no-vdi', 'the volume has been deleted at once');
    return described(record);
  }

  /** A new volume, empty or from a snapshot. */
  private async createFresh(
    name: string,
    asked: ReturnType<typeof vdiRequest.decode>,
  ): Promise<number | Answer> {
    const { call, directory } = this.parts;
    const sizeBytes = Number(asked.vdiSize);
    if (asked.baseVid === 0) {
      const defaults = this.parts.defaults();
      const params = {
        name,
        sizeBytes,
        copies: asked.copies === 0 ? defaults.copies : asked.copies,
        blockSizeShift: asked.blockSizeShift === 0 ? defaults.blockSizeShift : asked.blockSizeShift,
      };
      return vidOfInfo(await untilDone(this.parts, () => call('vdi.create', params)));
    }
    const base = await recordNow(this.parts, asked.baseVid);
    const origin = base === undefined ? undefined : directory.line(base.line)?.name;
    if (base === undefined || base.state !== 'live' || origin === undefined)
      return { result: Result.BASE_VDI_READ };
    const source = { name: origin, snapId: base.snapId };
    const size = sizeBytes === 0 ? {} : { sizeBytes };
    return vidOfInfo(await untilDone(this.parts, () => call('vdi.clone', { source, name, ...size })));
  }

  /** The volume as it is becomes a snapshot; it goes on from itself, or from an older snapshot. */
  private async next(name: string, base: number): Promise<number> {
    await this.parts.directory.findNow({ name });
    const { result } = await untilDone(this.parts, () => this.parts.call('version.next', { name, base }));
    return (result as { vid: number }).vid;
  }

  /** Sufficient by itself, whatever the client did to the index before (D-3); the name is free at once. */
  private async remove(request: Request): Promise<Answer> {
    const record = await this.find(request);
    const name = this.parts.directory.line(record.line)?.name;
    const frozen = record.image === undefined ? { name, snapId: record.snapId } : { name };
    await untilDone(this.parts, () =>
      isWorking(this.parts, record)
        ? this.parts.call('version.forget', { name })
        : this.parts.call('version.forgetSnapshot', frozen),
    );
    return described(record);
  }

  /** The version that the payload names: name, or name and tag; the header may have a snapshot id. */
  private async find({ payload, header }: Request): Promise<VdiRecord> {
    if (payload.length !== NAME_BYTES && payload.length !== NAME_BYTES + TAG_BYTES) {
      throw new AppError('invalid', 'a name has 256 bytes, and so has a tag');
    }
    const name = textOf(payload.subarray(0, NAME_BYTES));
    const tag = textOf(payload.subarray(NAME_BYTES), TAG_BYTES);
    if (name === undefined || name === '') throw new AppError('no-vdi', 'No VDI found');
    const { snapId } = vdiRequest.decode(header);
    const { directory } = this.parts;
    try {
      return await directory.findNow({
        name,
        ...(tag !== '' && { tag: tag ?? '\0' }),
        ...(snapId !== 0 && { snapId }),
      });
    } catch (error) {
      // Without a working volume there is nothing whose tag could be missing (reference, section 6.1).
      const line = AppError.isCode(error, 'no-tag') ? directory.lineOf(name) : undefined;
      if (line !== undefined && directory.vdi(line.vid)?.state !== 'live') {
        throw new AppError('no-vdi', 'No VDI found');
      }
      throw error;
    }
  }

  private bitmap(request: Request, which: 'used' | 'deleted'): Answer {
    if (request.dataLength !== VDI_BITMAP_BYTES) throw new AppError('invalid', 'a bitmap has 2 MiB');
    const payload = Buffer.alloc(VDI_BITMAP_BYTES);
    for (const vid of this.parts.inodes.bitmaps()[which]) payload[vid >> 3]! |= 1 << (vid & 7);
    return { result: Result.SUCCESS, payload };
  }

  private clusterDefault(): Answer {
    return { result: Result.SUCCESS, header: clusterDefaultResponse.encode(this.parts.defaults()) };
  }
}

function described(record: VdiRecord): Answer {
  const { vid, copies, blockSizeShift } = record;
  return { result: Result.SUCCESS, header: vdiResponse.encode({ vid, copies, blockSizeShift }) };
}

function vidOfInfo({ result }: { result: unknown }): number {
  return (result as { vid: number }).vid;
}

/** Undefined: not text in UTF-8, or not ended where a name must be. No volume and no tag is called so. */
function textOf(bytes: Buffer, lengthMax = NAME_BYTES - 1): string | undefined {
  const text = textUpToNul(bytes);
  const length = Buffer.byteLength(text);
  if (length > lengthMax || Buffer.compare(Buffer.from(text), bytes.subarray(0, length)) !== 0)
    return undefined;
  return text;
}
