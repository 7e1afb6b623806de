import { createHash } from 'node:crypto';
import { AppError } from '../../base/errors.js';
import { type ObjectAddress, objectBytesOf } from '../../cluster/epochs/address.js';
import type { BlockRun } from '../../store/object-store.js';
import { invalidOid } from '../../wire/oid.js';
import { type DoorParts, untilSettled } from '../parts.js';
import type { ObjectFacts } from './cluster-facts.js';

/** One read of the cluster; hashing as much takes about two milliseconds, after which others have their turn. */
const PIECE_BYTES = 1024 * 1024;
const ZEROS = Buffer.alloc(PIECE_BYTES);

/** Objects of the whole cluster, asked of whoever serves them. Waits, as all I/O does, while nobody can. */
export class ClusterObjects implements ObjectFacts {
  /** One hash at a time: it is the one request of 48 bytes that costs seconds of work. */
  private lastHash: Promise<unknown> = Promise.resolve();

  constructor(private readonly parts: Pick<DoorParts, 'cluster' | 'directory' | 'manager' | 'clock'>) {}

  async sizeOf(oid: bigint): Promise<number | undefined> {
    const address = await this.locate(oid);
    if (address === undefined) return undefined;
    return (await this.runs(address)) === undefined ? undefined : objectBytesOf(address);
  }

  hash(oid: bigint): Promise<Uint8Array | undefined> {
    const hashed = this.lastHash.then(() => unlessGone(this.hashNow(oid)));
    this.lastHash = hashed.catch(() => {
      // Told to whoever asked for it.
    });
    return hashed;
  }

  async read(oid: bigint, offset: number, length: number): Promise<Uint8Array | undefined> {
    const address = await this.locate(oid);
    return address === undefined ? undefined : unlessGone(this.readAll(address, offset, length));
  }

  stored(): AsyncIterable<bigint> {
    return this.parts.cluster.objects.store.objects();
  }

  private async locate(oid: bigint): Promise<ObjectAddress | undefined> {
    return invalidOid(oid) === undefined ? this.parts.directory.resolve(oid) : undefined;
  }

  /** Data and holes; undefined when there is no such object. */
  private runs(address: ObjectAddress): Promise<BlockRun[] | undefined> {
    const { client } = this.parts.cluster;
    return untilSettled(this.parts, () => client.status(client.session(), address));
  }

  private readPiece(address: ObjectAddress, offset: number, length: number): Promise<Uint8Array> {
    const { client } = this.parts.cluster;
    return untilSettled(this.parts, () => client.read(client.session(), address, offset, length));
  }

  private async readAll(address: ObjectAddress, offset: number, length: number): Promise<Uint8Array> {
    const out = Buffer.alloc(length);
    for (let done = 0; done < length; done += PIECE_BYTES) {
      out.set(await this.readPiece(address, offset + done, Math.min(PIECE_BYTES, length - done)), done);
    }
    return out;
  }

  private async hashNow(oid: bigint): Promise<Uint8Array | undefined> {
    const address = await this.locate(oid);
    const runs = address && (await this.runs(address));
    if (address === undefined || runs === undefined) return undefined;
    const hash = createHash('sha1');
    let offset = 0;
    for (const { lengthBytes, hole } of runs) {
      for (let done = 0; done < lengthBytes; done += PIECE_BYTES) {
        const length = Math.min(PIECE_BYTES, lengthBytes - done);
        const piece = hole ? ZEROS : await this.readPiece(address, offset + done, length);
        hash.update(piece.subarray(0, length));
        await this.nextTurn();
      }
      offset += lengthBytes;
    }
    return hash.digest();
  }

  private nextTurn(): Promise<void> {
    return new Promise((resolve) => {
      this.parts.clock.defer(resolve);
    });
  }
}

/** An object that is removed while it is read counts as missing. */
async function unlessGone<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (AppError.isCode(error, 'no-object')) return undefined;
    throw error;
  }
}
