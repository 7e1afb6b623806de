import type { Command } from 'commander';
import type { VdiInfo, VdiRef } from '../../control/api.js';
import { vdiRef } from '../arguments.js';
import {
  CorruptBackup,
  changedRange,
  decodeBackup,
  encodeBackupHeader,
  encodeEndRecord,
  encodeRecordHeader,
} from '../backup-stream.js';
import type { Context } from '../context.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { openProgress } from '../progress.js';
import { Upload } from '../upload.js';
import { readPart } from '../version-reader.js';
import { openVdi } from './vdi-change.js';

/** Bytes compared at a time: a whole object of the default size, and what one call reads at most. */
const WINDOW_BYTES = 4 * 1024 * 1024;
/** Windows read ahead; each is read from two snapshots. */
const WINDOWS_AHEAD = 4;

/** Incremental backups: what changed between two snapshots, as a stream. */
export function vdiBackupCommands(parent: Command, runner: Runner): void {
  addLeaf<{ fromSnapshot?: string; snapshot?: string }>(parent, runner, {
    usage: 'backup <name>',
    summary: 'write what changed between two snapshots to standard output',
    details: `The stream has the original's format. It only makes sense together with the first snapshot: keep that one
('dog vdi read -s FROM NAME') too.`,
    examples: ['dog vdi backup first -F monday -s tuesday > first-tuesday.backup'],
    options: [
      ['-F, --from-snapshot <snapshot>', 'the older snapshot, by tag or id (needed)'],
      ['-s, --snapshot <snapshot>', 'the newer snapshot, by tag or id (needed)'],
    ],
    run: backup,
  });
  addLeaf<{ snapshot?: string; block?: string; interval?: string }>(parent, runner, {
    usage: 'restore <name>',
    summary: 'make a snapshot from an older one and a backup on standard input',
    details: `The newest snapshot of the volume is then the one that was backed up; 'dog vdi rollback' makes it the
volume's content, 'dog vdi clone' another volume. The volume itself is not touched, and a stream that is cut or
damaged changes nothing.`,
    examples: [
      'dog vdi restore first -s monday < first-tuesday.backup',
      'dog vdi list first',
      'dog vdi rollback first -s 3',
    ],
    options: [
      ['-s, --snapshot <snapshot>', 'the snapshot the backup starts from, by tag or id (needed)'],
      ['-B, --block <count>', 'accepted for old scripts'],
      ['-I, --interval <seconds>', 'accepted for old scripts'],
    ],
    run: restore,
  });
}

interface Version {
  readonly ref: VdiRef;
  readonly vdi: VdiInfo;
  /** Owner of each allocated object, by index. */
  readonly owners: ReadonlyMap<number, number>;
}

async function backup(
  context: Context,
  [name]: string[],
  options: { fromSnapshot?: string; snapshot?: string },
): Promise<void> {
  if (options.fromSnapshot === undefined || options.snapshot === undefined) {
    throw new Exit(exitCodes.usage, "Please specify snapshots with '-F' and '-s' options");
  }
  const from = await openVersion(context, vdiRef(name!, options.fromSnapshot));
  const to = await openVersion(context, vdiRef(name!, options.snapshot));
  const windows = changedWindows(from, to);
  const progress = await openProgress(context, `backing up ${name}`);
  try {
    await context.print(encodeBackupHeader());
    const ahead: Promise<Buffer[]>[] = [];
    for (let next = 0, done = 0; done < windows.length; done++) {
      while (next < windows.length && ahead.length < WINDOWS_AHEAD) {
        const record = recordOf(context, from, to, windows[next++]!);
        // The first failure is reported where it is awaited; the others must not count as unhandled.
        record.catch(() => {});
        ahead.push(record);
      }
      for (const part of await ahead.shift()!) await context.print(part);
      progress.update({ done: done + 1, total: windows.length, unit: 'pieces' });
    }
    await context.print(encodeEndRecord());
  } finally {
    progress.stop();
  }
}

async function openVersion(context: Context, ref: VdiRef): Promise<Version> {
  await context.client({ nodeList: true });
  const vdi = await openVdi(context, ref);
  const { entries } = await context.call('vdi.map', ref);
  return { ref, vdi, owners: new Map(entries) };
}

interface Window {
  readonly index: number;
  /** In the object. */
  readonly offset: number;
  readonly length: number;
}

/** The parts of objects that the newer version owns and the older one does not share. */
function changedWindows(from: Version, to: Version): Window[] {
  const objectBytes = 2 ** to.vdi.blockSizeShift;
  const windows: Window[] = [];
  const indexes = [...new Set([...from.owners.keys(), ...to.owners.keys()])].sort((a, b) => a - b);
  for (const index of indexes) {
    if (from.owners.get(index) === to.owners.get(index)) continue;
    const end = Math.min(objectBytes, to.vdi.sizeBytes - index * objectBytes);
    for (let offset = 0; offset < end; offset += WINDOW_BYTES) {
      windows.push({ index, offset, length: Math.min(WINDOW_BYTES, end - offset) });
    }
  }
  return windows;
}

/** A record header and its data; nothing when the window has not changed after all. */
async function recordOf(context: Context, from: Version, to: Version, window: Window): Promise<Buffer[]> {
  const [before, after] = await Promise.all([
    readWindow(context, from, window),
    readWindow(context, to, window),
  ]);
  const changed = changedRange(before, after);
  if (changed === undefined) return [];
  const { start, end } = changed;
  return [encodeRecordHeader(window.index, window.offset + start, end - start), after.subarray(start, end)];
}

/** What the version does not have, and what lies past its end, is zeros. */
async function readWindow(context: Context, version: Version, window: Window): Promise<Buffer> {
  const { ref, vdi, owners } = version;
  const start = window.index * 2 ** vdi.blockSizeShift + window.offset;
  const length = Math.max(0, Math.min(window.length, vdi.sizeBytes - start));
  if (!owners.has(window.index) || length === 0) return Buffer.alloc(window.length);
  const bytes = await readPart(context, ref, start, length);
  return length === window.length ? bytes : Buffer.concat([bytes], window.length);
}

async function restore(context: Context, [name]: string[], options: { snapshot?: string }): Promise<void> {
  if (options.snapshot === undefined) {
    throw new Exit(
      exitCodes.usage,
      "Please specify the snapshot the backup starts from with the '-s' option",
    );
  }
  const ref = vdiRef(name!, options.snapshot);
  await context.client({ nodeList: true });
  const base = await openVdi(context, ref).catch((error: Exit) => {
    const what = `Snapshot ID ${ref.snapId ?? 0} or tag ${ref.tag ?? ''} doesn't exist`;
    throw new Exit(error.exit, `${error.message}\n${what}`, { hint: error.hint, quietHint: true });
  });
  const working = await openVdi(context, { name: name! });
  const sizeBytes = Math.max(base.sizeBytes, working.sizeBytes);
  const stage = await context.call('restore.begin', { ...ref, sizeBytes }).catch((error: unknown) => {
    throw refusal(`Failed to restore VDI ${name}`, error);
  });
  const upload = new Upload(context, stage.id);
  try {
    const end = await writeChanges(context, upload, stage.sizeBytes, 2 ** stage.blockSizeShift);
    // A stream does not say how large its snapshot was: it cannot have been smaller than this.
    const needed = end > base.sizeBytes ? stage.sizeBytes : base.sizeBytes;
    const made = await context.call('restore.commit', { id: stage.id, sizeBytes: needed });
    upload.end();
    await printRestored(context, made);
  } catch (error) {
    await upload.abort();
    if (error instanceof CorruptBackup) {
      throw new Exit(exitCodes.failure, 'The backup file is corrupted', { cause: error });
    }
    throw refusal(`Failed to restore VDI ${name}`, error);
  }
}

/** Resolves with the end of the last byte that the stream has. */
async function writeChanges(
  context: Context,
  upload: Upload,
  sizeBytes: number,
  objectBytes: number,
): Promise<number> {
  let end = 0;
  for await (const { index, offset, data } of decodeBackup(context.io.stdin, objectBytes)) {
    const at = index * objectBytes + offset;
    // The original pads the last object of a volume to its whole size.
    const inside = data.subarray(0, Math.max(0, sizeBytes - at));
    if (data.subarray(inside.length).some((byte) => byte !== 0)) {
      throw new Exit(exitCodes.failure, 'The backup is of a larger volume; nothing was changed', {
        hint: "Make the volume as large as it was when the backup was made, with 'dog vdi resize'.",
      });
    }
    await upload.write(at, inside);
    end = Math.max(end, at + inside.length);
  }
  await upload.settled();
  return end;
}

async function printRestored(context: Context, made: VdiInfo): Promise<void> {
  if (context.json) return context.printJson(made);
  if (!context.verbose) return;
  await context.printLine(
    context.raw ? `${made.snapId}` : `restored as snapshot ${made.snapId} of ${made.name}`,
  );
}
