/**
 * Who this store belongs to, and how it was left. A sealed text file (small-file.ts) that an administrator can read:
 *
 *     sheepfold-store 2
 *     {"clusterId":"...","nodeId":"...","bootId":"...","clean":true,"openCount":3,"usedBytes":4194304}
 *     <CRC-32 of the two lines>
 *
 * `openCount` rises with every opening and is the upper part of journal generations and instance numbers, so that
 * those never repeat whatever else was lost.
 */
import { AppError } from '../base/errors.js';
import type { Disk } from './disk.js';
import { readSmall, replaceSmall, sealText, unsealText } from './small-file.js';

export const STORE_VERSION = 2;
export const SUPERBLOCK_PATH = 'superblock';

export interface Superblock {
  readonly clusterId: string;
  readonly nodeId: string;
  /** Boot id of the machine when the store was last opened. */
  readonly bootId: string;
  readonly clean: boolean;
  /** Acknowledged bytes were lost, and the cluster has not made up for it yet. */
  readonly lossy?: boolean;
  readonly openCount: number;
  /** Room occupied by objects when this was written. */
  readonly usedBytes: number;
}

export function encodeSuperblock(block: Superblock): Buffer {
  const { clusterId, nodeId, bootId, clean, openCount, usedBytes, lossy } = block;
  const fields = JSON.stringify({
    clusterId,
    nodeId,
    bootId,
    clean,
    openCount,
    usedBytes,
    ...(lossy && { lossy }),
  });
  return sealText(`sheepfold-store ${STORE_VERSION}\n${fields}\n`);
}

/** AppError 'system' (damaged) | 'version' (of a newer program). */
export function decodeSuperblock(bytes: Buffer): Superblock {
  const version = /^sheepfold-store (\d+)\n/.exec(bytes.toString('latin1', 0, 64));
  if (version && Number(version[1]) > STORE_VERSION) {
    const found = `the store has format ${version[1]}`;
    throw new AppError('version', `${found}; this program knows formats up to ${STORE_VERSION}`);
  }
  const text = version ? unsealText(bytes) : undefined;
  if (text === undefined) throw new AppError('system', 'the superblock of the store is damaged');
  return JSON.parse(text.slice(text.indexOf('\n') + 1)) as Superblock;
}

/** Lives of objects that begin while the store is open have greater numbers than this. */
export function firstInstance({ openCount }: Superblock): number {
  return openCount * 0x1_0000_0000;
}

/** The superblock; undefined when the disk holds no store yet. */
export function readSuperblock(disk: Disk): Superblock | undefined {
  const bytes = readSmall(disk, SUPERBLOCK_PATH);
  return bytes && decodeSuperblock(bytes);
}

export async function writeSuperblock(disk: Disk, block: Superblock): Promise<void> {
  await replaceSmall(disk, SUPERBLOCK_PATH, encodeSuperblock(block));
}

/** AppError 'cluster-error' when the store belongs to somebody else. */
export function checkIdentity(block: Superblock, wanted: { clusterId: string; nodeId: string }): void {
  if (block.clusterId !== wanted.clusterId) {
    throw new AppError(
      'cluster-error',
      `the store belongs to cluster ${block.clusterId}, not to ${wanted.clusterId}`,
    );
  }
  if (block.nodeId !== wanted.nodeId) {
    throw new AppError('cluster-error', `the store belongs to node ${block.nodeId}, not to ${wanted.nodeId}`);
  }
}
