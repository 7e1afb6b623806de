import { AppError } from '../../src/base/errors.js';
import type { VdiInfo, VdiRef } from '../../src/control/api.js';
import { LibvirtError } from '../rpc/errors.js';
import type { VolumeName } from '../rpc/procedures.js';
import { isCloneTag, splitSnapshot, volumeNameOf } from './names.js';
import type { Pool } from './pool.js';
import type { VolumeDescription, VolumeFormat } from './volume-xml.js';

/** Attribute of a VDI that says what is in it, when that is not raw. */
const FORMAT_ATTRIBUTE = 'libvirt.format';

export interface Format {
  readonly format: VolumeFormat;
  /** What a guest sees, when that is not the whole volume. */
  readonly capacityBytes?: number;
}

/** A volume of a pool, or one of its snapshots, as the cluster knew it a moment ago. */
export interface Volume {
  readonly pool: Pool;
  /** In the pool: `disk`, or `disk@tag`. */
  readonly name: string;
  readonly vdi: string;
  /** Nobody can change it: a snapshot or an image. */
  readonly frozen: boolean;
  readonly snapshot: boolean;
  readonly ref: VdiRef;
  readonly info: VdiInfo;
}

/**
 * The volumes of a pool, without the snapshots: libvirt has no place for those, and two rows of one name broke its old
 * backend. A snapshot is found by `volume@tag` (or `volume@id`), and can be read and cloned.
 */
export async function listVolumes(pool: Pool): Promise<Volume[]> {
  const rows = await pool.ask('vdi.list', {});
  return rows.flatMap((info) => {
    const name = info.snapshot ? undefined : volumeNameOf(pool.namespace, info.name);
    return name === undefined ? [] : [volumeOf(pool, name, info)];
  });
}

/** Rejects with LibvirtError 'no-volume' or, when the pool is not active, 'operation-invalid'. */
export async function findVolume(pool: Pool, name: string): Promise<Volume> {
  pool.requireActive();
  const found = await lookUp(pool, name);
  if (found === undefined) {
    throw new LibvirtError('no-volume', `no storage vol with matching name '${name}'`);
  }
  return found;
}

/** Undefined when there is none. */
export async function lookUp(pool: Pool, name: string): Promise<Volume | undefined> {
  const { volume, snapshot } = splitSnapshot(name);
  const vdi = (pool.namespace === '' ? '' : `${pool.namespace}~`) + volume;
  if (volumeNameOf(pool.namespace, vdi) !== volume || (snapshot !== undefined && isCloneTag(snapshot))) {
    return undefined;
  }
  try {
    return volumeOf(pool, name, await pool.ask('vdi.info', refOf(vdi, snapshot)));
  } catch (error) {
    // A name that the cluster would never give is the name of nothing.
    if (AppError.isCode(error, 'no-vdi', 'no-tag', 'invalid')) return undefined;
    throw error;
  }
}

/** The snapshots of a volume, oldest first; those that only serve a clone are left out. */
export async function snapshotsOf(volume: Volume): Promise<VdiInfo[]> {
  const rows = await volume.pool.ask('vdi.list', { name: volume.vdi });
  return rows.filter((row) => row.snapshot && !isCloneTag(row.tag)).sort((a, b) => a.snapId - b.snapId);
}

/**
 * Deletes one version. When a relative of it is deleted at the same moment, the cluster may fail to find out what is
 * free now, after the version is gone: its sweep does that later, and for the client the version is deleted.
 */
export async function deleteVersion(pool: Pool, ref: VdiRef): Promise<void> {
  try {
    await pool.ask('vdi.delete', ref);
  } catch (error) {
    if (!AppError.isCode(error, 'no-object') || (await exists(pool, ref))) throw error;
  }
}

async function exists(pool: Pool, ref: VdiRef): Promise<boolean> {
  try {
    await pool.ask('vdi.info', ref);
    return true;
  } catch (error) {
    if (AppError.isCode(error, 'no-vdi', 'no-tag')) return false;
    throw error;
  }
}

export function nameOf(volume: Volume): VolumeName {
  const { pool, name } = volume;
  return { pool: pool.name, name, key: keyOf(volume) };
}

export function pathOf({ pool, name, vdi, snapshot }: Volume): string {
  return pool.pathOf(snapshot ? `${vdi}@${splitSnapshot(name).snapshot}` : vdi, name);
}

export async function describeVolume(volume: Volume): Promise<VolumeDescription> {
  const { info, pool } = volume;
  const { format, capacityBytes } = await readFormat(volume);
  return {
    name: volume.name,
    key: keyOf(volume),
    path: pathOf(volume),
    type: pool.definition.targetPath === undefined ? 'network' : 'file',
    capacityBytes: capacityBytes ?? info.sizeBytes,
    allocationBytes: Math.min(info.usedBytes, info.sizeBytes),
    physicalBytes: info.sizeBytes,
    format,
    createdMs: info.snapshot ? info.snapshotMs : info.createdMs,
  };
}

/**
 * What was noted when the volume was made. Never found out from its content: a guest that writes the beginning of a
 * qcow2 image into a raw disk could name any file of the host as its backing file.
 */
export async function readFormat({ pool, vdi }: Pick<Volume, 'pool' | 'vdi'>): Promise<Format> {
  try {
    const { value } = await pool.ask('vdi.getattr', { name: vdi, key: FORMAT_ATTRIBUTE });
    const noted: unknown = JSON.parse(Buffer.from(value, 'base64').toString());
    return isFormat(noted) ? noted : { format: 'raw' };
  } catch (error) {
    if (AppError.isCode(error, 'missing') || error instanceof SyntaxError) return { format: 'raw' };
    throw error;
  }
}

export async function noteFormat(pool: Pool, vdi: string, format: Format): Promise<void> {
  const value = Buffer.from(JSON.stringify(format)).toString('base64');
  await pool.ask('vdi.setattr', { name: vdi, key: FORMAT_ATTRIBUTE, mode: 'set', value });
}

function isFormat(noted: unknown): noted is Format {
  if (typeof noted !== 'object' || noted === null) return false;
  const { format, capacityBytes } = noted as Record<string, unknown>;
  return format === 'qcow2' && typeof capacityBytes === 'number' && Number.isSafeInteger(capacityBytes);
}

function keyOf({ pool, vdi, name, snapshot }: Volume): string {
  return pool.keyOf(snapshot ? `${vdi}@${splitSnapshot(name).snapshot}` : vdi);
}

function volumeOf(pool: Pool, name: string, info: VdiInfo): Volume {
  return {
    pool,
    name,
    vdi: info.name,
    frozen: info.snapshot || info.image !== undefined,
    snapshot: info.snapshot,
    ref: info.snapshot ? { name: info.name, snapId: info.snapId } : { name: info.name },
    info,
  };
}

function refOf(vdi: string, snapshot: string | undefined): VdiRef {
  if (snapshot === undefined) return { name: vdi };
  return /^\d+$/.test(snapshot) ? { name: vdi, snapId: Number(snapshot) } : { name: vdi, tag: snapshot };
}
