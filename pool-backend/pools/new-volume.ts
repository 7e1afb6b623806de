import { randomUUID } from 'node:crypto';
import { AppError } from '../../src/base/errors.js';
import { LibvirtError } from '../rpc/errors.js';
import { ContentWriter, readContent } from './content.js';
import { cloneTag, unfinishedNameOf, vdiNameOf } from './names.js';
import type { Pool } from './pool.js';
import { emptyQcow2, volumeBytesFor } from './qcow2.js';
import { type Format, findVolume, noteFormat, readFormat, type Volume } from './volume.js';
import { parseVolume, type VolumeRequest } from './volume-xml.js';

/** Sizes are whole sectors: QEMU and NBD clients know nothing smaller. */
const SECTOR_BYTES = 512;
const toSectors = (bytes: number): number => Math.ceil(bytes / SECTOR_BYTES) * SECTOR_BYTES;

/**
 * Makes the volume that the XML describes. A volume is there whole or not at all: what takes several steps is done
 * under another name, and renamed. Rejects with LibvirtError; 'volume-exists' also when another client was faster.
 */
export async function createVolume(
  pool: Pool,
  xml: string,
  findByPath: (path: string) => Promise<Volume | undefined>,
): Promise<Volume> {
  pool.requireActive();
  const wanted = await parseVolume(xml);
  const vdi = vdiNameOf(pool.namespace, wanted.name);
  if (wanted.backingPath !== undefined) {
    const base = await findByPath(wanted.backingPath);
    if (base === undefined) {
      throw new LibvirtError('no-volume', `no storage vol with matching path '${wanted.backingPath}'`);
    }
    return createFrom(pool, wanted, base);
  }
  const { capacityBytes, format = 'raw' } = wanted;
  if (capacityBytes === undefined || capacityBytes === 0) {
    throw new LibvirtError('xml', 'volume capacity required for this storage pool');
  }
  await named(wanted.name, async () => {
    const preallocate = (wanted.allocationBytes ?? 0) >= capacityBytes;
    if (format === 'raw') {
      await pool.ask('vdi.create', { name: vdi, sizeBytes: toSectors(capacityBytes), preallocate });
    } else await createQcow2(pool, vdi, toSectors(capacityBytes), preallocate);
  });
  return findVolume(pool, wanted.name);
}

/** Makes a volume with the content of another one: a clone within a cluster, a copy between two. */
export async function createVolumeFrom(pool: Pool, xml: string, source: Volume): Promise<Volume> {
  pool.requireActive();
  return createFrom(pool, await parseVolume(xml), source);
}

async function createFrom(pool: Pool, wanted: VolumeRequest, source: Volume): Promise<Volume> {
  const vdi = vdiNameOf(pool.namespace, wanted.name);
  const noted = await readFormat(source);
  refuseOtherFormat(wanted, noted);
  const sizeBytes = Math.max(source.info.sizeBytes, toSectors(sizeWanted(wanted, noted)));
  await whileThere(source, wanted.name, async () => {
    // One step makes a raw clone; everything else is made under another name.
    if (pool.clusterId === source.pool.clusterId && noted.format === 'raw') {
      return cloneOf(pool, source, vdi, sizeBytes);
    }
    await underOtherName(pool, vdi, async (unfinished) => {
      if (pool.clusterId === source.pool.clusterId) await cloneOf(pool, source, unfinished, sizeBytes);
      else await copyOf(pool, source, unfinished, sizeBytes);
      if (noted.format !== 'raw') await noteFormat(pool, unfinished, noted);
    });
  });
  return findVolume(pool, wanted.name);
}

function refuseOtherFormat(wanted: VolumeRequest, noted: Format): void {
  const { format = noted.format } = wanted;
  if (format === noted.format) return;
  throw new LibvirtError(
    'no-support',
    `a ${format} volume of a ${noted.format} one: qemu-img convert does that`,
  );
}

/** 0 for the size of the source. The image inside a qcow2 volume does not grow with it. */
function sizeWanted(wanted: VolumeRequest, noted: Format): number {
  const { capacityBytes = 0 } = wanted;
  if (noted.capacityBytes === undefined) return capacityBytes;
  if (capacityBytes > noted.capacityBytes) {
    throw new LibvirtError('no-support', 'a qcow2 volume that is larger than its origin');
  }
  return 0;
}

async function createQcow2(
  pool: Pool,
  vdi: string,
  capacityBytes: number,
  preallocate: boolean,
): Promise<void> {
  await underOtherName(pool, vdi, async (name) => {
    await pool.ask('vdi.create', { name, sizeBytes: volumeBytesFor(capacityBytes), preallocate });
    await writeEmptyQcow2(pool, name, capacityBytes);
    await noteFormat(pool, name, { format: 'qcow2', capacityBytes });
  });
}

/** The volume must read as zeroes. */
export async function writeEmptyQcow2(pool: Pool, vdi: string, capacityBytes: number): Promise<void> {
  await pool.call('vdi.write', { name: vdi, offset: 0 }, { blob: emptyQcow2(capacityBytes) });
  await pool.ask('vdi.flush', { name: vdi });
}

/** Shares everything with its origin. Of a working volume a snapshot is made for it, which goes at once. */
async function cloneOf(pool: Pool, source: Volume, name: string, sizeBytes: number): Promise<void> {
  if (source.frozen) {
    await pool.ask('vdi.clone', { source: source.ref, name, sizeBytes });
    return;
  }
  const base = { name: source.vdi, tag: cloneTag(randomUUID()) };
  try {
    await pool.ask('vdi.snapshot', base).catch((error: unknown) => {
      // The volume was deleted at that moment; the snapshot may be there, which the next call finds out.
      if (!AppError.isCode(error, 'no-object')) throw error;
    });
    await pool.ask('vdi.clone', { source: base, name, sizeBytes });
  } finally {
    // The clone needs its objects, not its name. When this fails the next refresh does it.
    await pool.ask('vdi.delete', base).catch(() => undefined);
  }
}

async function copyOf(pool: Pool, source: Volume, name: string, sizeBytes: number): Promise<void> {
  const info = await pool.ask('vdi.create', { name, sizeBytes });
  const target: Volume = { pool, name, vdi: name, frozen: false, snapshot: false, ref: { name }, info };
  const writer = ContentWriter.open(target, 0, 0);
  const range = { offset: 0, length: source.info.sizeBytes, sparse: true };
  let offset = 0;
  for await (const piece of readContent(source, range)) {
    // The new volume is all holes.
    if ('data' in piece) await writer.write(piece.data);
    else await writer.skip(piece.holeBytes);
    offset += 'data' in piece ? piece.data.length : piece.holeBytes;
  }
  if (offset !== range.length) throw new AppError('io', 'the volume changed its size while it was copied');
  await writer.finish();
}

/** Runs work that fills a volume of another name, which gets its own in one step, or is removed. */
async function underOtherName(pool: Pool, vdi: string, work: (name: string) => Promise<void>): Promise<void> {
  await refuseTaken(pool, vdi);
  const name = unfinishedNameOf(pool.namespace, randomUUID());
  try {
    await work(name);
    await pool.ask('vdi.rename', { name, newName: vdi });
  } catch (error) {
    await pool.ask('vdi.delete', { name }).catch(() => undefined);
    throw error;
  }
}

/** Early, before the work; the rename is what decides. */
async function refuseTaken(pool: Pool, vdi: string): Promise<void> {
  try {
    await pool.ask('vdi.info', { name: vdi });
  } catch (error) {
    if (AppError.isCode(error, 'no-vdi')) return;
    throw error;
  }
  throw new AppError('vdi-exists', 'VDI exists already');
}

/** The origin may be deleted while the volume is made. */
async function whileThere(source: Volume, name: string, work: () => Promise<void>): Promise<void> {
  try {
    await named(name, work);
  } catch (error) {
    if (!AppError.isCode(error, 'no-vdi', 'no-tag', 'no-object')) throw error;
    const detail = `no storage vol with matching name '${source.name}'`;
    throw new LibvirtError('no-volume', detail, { cause: error });
  }
}

async function named(name: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (AppError.isCode(error, 'vdi-exists')) throw new LibvirtError('volume-exists', `'${name}'`);
    throw error;
  }
}
