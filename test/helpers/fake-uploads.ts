import { AppError } from '../../src/base/errors.js';
import type { CheckFinding, ControlParams, LockInfo, VdiInfo, VdiRef } from '../../src/control/api.js';

interface FakeVdi {
  info: VdiInfo;
  bytes: Buffer;
}

interface Volumes {
  readonly vdis: readonly FakeVdi[];
  find(ref: VdiRef): FakeVdi;
  add(name: string, sizeBytes: number, extra?: Partial<VdiInfo>): FakeVdi;
}

interface Upload {
  name: string;
  bytes: Buffer;
  base?: FakeVdi;
}

/** The part of the fake cluster that uploads (images, restored backups), checks and locks are about. */
export class FakeUploads {
  readonly uploads = new Map<string, Upload>();
  /** What the next `vdi.check` finds. */
  found: CheckFinding[] = [];
  unchecked = 0;
  locks: LockInfo[] = [];
  /** The next `stage.write` fails with this. */
  writeFailure: AppError | undefined;
  sentBytes = 0;

  constructor(private readonly cluster: Volumes) {}

  readonly methods = {
    'image.begin': ({ name, sizeBytes }: ControlParams<'image.begin'>) => {
      if (this.cluster.vdis.some(({ info }) => info.name === name))
        throw new AppError('vdi-exists', 'exists');
      return { id: this.open({ name, bytes: Buffer.alloc(sizeBytes ?? 8 * 1024 * 1024) }) };
    },
    'image.commit': ({ id, contentBytes, sha256 }: ControlParams<'image.commit'>) => {
      const { name, bytes } = this.upload(id);
      const made = this.cluster.add(name, Math.ceil(contentBytes / 512) * 512, {
        image: { contentBytes, sha256 },
      });
      bytes.copy(made.bytes);
      this.uploads.delete(id);
      return made.info;
    },
    'restore.begin': ({ sizeBytes = 0, ...ref }: ControlParams<'restore.begin'>) => {
      const base = this.cluster.find(ref);
      const bytes = Buffer.alloc(Math.max(base.bytes.length, sizeBytes));
      base.bytes.copy(bytes);
      return {
        id: this.open({ name: ref.name, bytes, base }),
        sizeBytes: bytes.length,
        blockSizeShift: base.info.blockSizeShift,
      };
    },
    'restore.commit': ({ id, sizeBytes }: ControlParams<'restore.commit'>) => {
      const { name, bytes, base } = this.upload(id);
      const snapId = 1 + this.cluster.vdis.filter(({ info }) => info.name === name && info.snapshot).length;
      const made = this.cluster.add(name, sizeBytes, { snapshot: true, snapId, parentVid: base!.info.vid });
      bytes.copy(made.bytes);
      this.uploads.delete(id);
      return made.info;
    },
    'stage.write': ({ id, offset }: ControlParams<'stage.write'>, blob: Uint8Array) => {
      if (this.writeFailure !== undefined) throw this.writeFailure;
      const { bytes } = this.upload(id);
      if (offset + blob.length > bytes.length) throw new AppError('invalid', 'past the end');
      bytes.set(blob, offset);
      this.sentBytes += blob.length;
      return {};
    },
    'stage.abort': ({ id }: ControlParams<'stage.abort'>) => {
      this.uploads.delete(id);
      return {};
    },
    'vdi.check': ({ mode: _, ...ref }: ControlParams<'vdi.check'>) => {
      this.cluster.find(ref);
      const { found, unchecked } = this;
      const repaired = found.filter(({ outcome }) => outcome === 'repaired').length;
      return { objects: 9, findings: found.length, repaired, unchecked, headers: 0, found };
    },
    'vdi.track': (params: ControlParams<'vdi.track'>) => ({
      oid: 'oid' in params ? params.oid : params.index < 0 ? '80ed203300000000' : '00ed202b00000000',
      vid: 0xed2033,
      copies: 3,
      epochs: [
        { epoch: 2, holders: [1, 2].map((at) => ({ host: '127.0.0.1', port: 7000 + at })) },
        { epoch: 1, holders: [1, 0, 2].map((at) => ({ host: '127.0.0.1', port: 7000 + at })) },
      ],
    }),
    'vdi.locks': () => this.locks,
    'vdi.unlock': ({ name }: ControlParams<'vdi.unlock'>) => {
      const at = this.locks.findIndex((lock) => lock.name === name);
      if (at < 0) throw new AppError('missing', 'not locked');
      this.locks.splice(at, 1);
      return {};
    },
  };

  private open(upload: Upload): string {
    const id = String(this.uploads.size + 1);
    this.uploads.set(id, upload);
    return id;
  }

  private upload(id: string): Upload {
    const found = this.uploads.get(id);
    if (found === undefined) throw new AppError('missing', 'no such upload');
    return found;
  }
}
