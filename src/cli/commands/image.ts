import { createHash } from 'node:crypto';
import { createReadStream, type Stats, statSync } from 'node:fs';
import { basename } from 'node:path';
import type { Command } from 'commander';
import { AppError } from '../../base/errors.js';
import type { VdiInfo } from '../../control/api.js';
import { copiesArgument, shiftArgument } from '../arguments.js';
import type { Context } from '../context.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { formatFields } from '../output.js';
import { openProgress, type Progress } from '../progress.js';
import { formatMinute, formatSize } from '../sizes.js';
import { callPieces, Upload } from '../upload.js';
import { readVersion } from '../version-reader.js';
import { fetchVdis } from './vdi-list.js';

/** An image as `vdi.list` tells it. */
type Image = VdiInfo & Required<Pick<VdiInfo, 'image'>>;

interface AddOptions {
  checksum?: string;
  copies?: string;
  block_size_shift?: string;
}

/** Images: files kept as volumes that nobody can change, such as installation CDs. */
export function imageCommands(parent: Command, runner: Runner): void {
  addLeaf<AddOptions>(parent, runner, {
    usage: 'add <file> [name]',
    summary: 'store a file as a volume that cannot be changed',
    details: `FILE is an ISO image or any other file; '-' is standard input, which needs a NAME. The image appears
when all of it is stored and its SHA-256 is what --checksum says; until then, and after a failure, there is nothing.
Guests read it as a disk or CD-ROM by both doors; 'dog vdi read' gives the file back.
Exit codes: 3 the name is taken, 4 no room.`,
    examples: [
      'dog image add debian-12-netinst.iso',
      'dog image add debian.iso cd1 --checksum sha256:013f5b44670d81280b5b1bc02455842b250df2f0c6763398feb69af1a805a14f',
      'qemu-system-x86_64 -cdrom nbd://127.0.0.1:10809/cd1',
    ],
    options: [
      ['--checksum <sha256:hex>', 'what the SHA-256 of the file must be'],
      ['-c, --copies <copies>', 'number of copies (default: that of the cluster)'],
      ['-z, --block_size_shift <shift>', 'size of objects as a power of two, 20 to 31'],
    ],
    run: add,
  });
  addLeaf(parent, runner, {
    usage: 'list',
    summary: 'list images',
    details: 'Raw lines: NAME BYTES SHA256 CTIME VID, white space in names escaped.',
    examples: ['dog image list'],
    run: list,
  });
  addLeaf<{ verify?: boolean }>(parent, runner, {
    usage: 'info <name>',
    summary: 'everything about one image',
    examples: ['dog image info cd1', 'dog image info cd1 --verify'],
    options: [['--verify', 'read all of it and compare its SHA-256']],
    run: info,
  });
  addLeaf(parent, runner, {
    usage: 'remove <name>',
    summary: 'delete an image',
    examples: ['dog image remove cd1'],
    run: remove,
  });
}

async function add(
  context: Context,
  [file, givenName]: [string, ...string[]] | string[],
  options: AddOptions,
): Promise<void> {
  await printAdded(context, await addImage(context, file!, givenName, options));
}

/** Keeps a file as an image, under its own name if none is given. Rejects with Exit; nothing is kept then. */
export async function addImage(
  context: Context,
  file: string,
  givenName: string | undefined,
  options: AddOptions = {},
): Promise<Image> {
  const name = nameFor(file, givenName);
  const wanted = options.checksum === undefined ? undefined : parseChecksum(options.checksum);
  const stat = file === '-' ? undefined : statOf(file);
  const sizeBytes = stat?.isFile() ? stat.size : undefined;
  if (sizeBytes === 0) throw new Exit(exitCodes.failure, `Failed to add image ${name}: ${file} is empty`);
  const params = {
    name,
    ...(sizeBytes !== undefined && { sizeBytes }),
    ...(options.copies !== undefined && { copies: copiesArgument(options.copies) }),
    ...(options.block_size_shift !== undefined && {
      blockSizeShift: shiftArgument(options.block_size_shift),
    }),
  };
  const { id } = await context.call('image.begin', params).catch((error: unknown) => {
    throw addRefusal(name, error);
  });
  const upload = new Upload(context, id);
  const progress = await openProgress(context, `adding ${name}`);
  try {
    const input = file === '-' ? context.io.stdin : createReadStream(file, { highWaterMark: 1024 * 1024 });
    const { contentBytes, sha256 } = await copy(input, upload, progress, sizeBytes);
    refuseOther(name, file, { contentBytes, sizeBytes, sha256, wanted });
    const image = await context.call('image.commit', { id, contentBytes, sha256 });
    upload.end();
    return image as Image;
  } catch (error) {
    await upload.abort();
    throw addRefusal(name, error);
  } finally {
    progress.stop();
  }
}

function nameFor(file: string, given: string | undefined): string {
  if (given !== undefined) return given;
  if (file !== '-') return basename(file);
  throw new Exit(exitCodes.usage, 'dog: an image from standard input needs a NAME');
}

/** `sha256:HEX`, or the digits alone. */
function parseChecksum(text: string): string {
  const digits = text.replace(/^sha256:/i, '').toLowerCase();
  if (/^[0-9a-f]{64}$/.test(digits)) return digits;
  throw new Exit(exitCodes.usage, `Invalid checksum '${text}'`, {
    hint: "A checksum is 'sha256:' and 64 hexadecimal digits, as sha256sum prints them.",
  });
}

function statOf(file: string): Stats {
  let stat: Stats;
  try {
    stat = statSync(file);
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'No such file or directory' : error;
    throw new Exit(exitCodes.failure, `Failed to open ${file}: ${reason}`, { cause: error });
  }
  if (stat.isDirectory()) throw new Exit(exitCodes.failure, `Failed to open ${file}: Is a directory`);
  return stat;
}

async function copy(
  input: AsyncIterable<Buffer>,
  upload: Upload,
  progress: Progress,
  sizeBytes: number | undefined,
): Promise<{ contentBytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let contentBytes = 0;
  for await (const piece of callPieces(input)) {
    hash.update(piece);
    await upload.writeSparse(contentBytes, piece);
    contentBytes += piece.length;
    progress.update({ done: contentBytes, total: Math.max(contentBytes, sizeBytes ?? 0), unit: 'bytes' });
  }
  await upload.settled();
  return { contentBytes, sha256: hash.digest('hex') };
}

function refuseOther(
  name: string,
  file: string,
  found: { contentBytes: number; sizeBytes: number | undefined; sha256: string; wanted: string | undefined },
): void {
  const { contentBytes, sizeBytes, sha256, wanted } = found;
  const fail = (text: string): never => {
    throw new Exit(exitCodes.failure, `Failed to add image ${name}: ${text}; nothing was kept`);
  };
  if (contentBytes === 0) fail('the input is empty');
  if (sizeBytes !== undefined && contentBytes !== sizeBytes) fail(`${file} changed while it was read`);
  if (wanted !== undefined && wanted !== sha256) {
    fail(`checksum mismatch: sha256:${wanted} is wanted, the input has sha256:${sha256}`);
  }
}

function addRefusal(name: string, error: unknown): Exit {
  const exit = AppError.isCode(error, 'vdi-exists')
    ? exitCodes.exists
    : AppError.isCode(error, 'no-space', 'full-vdi')
      ? exitCodes.full
      : exitCodes.failure;
  return refusal(`Failed to add image ${name}`, error, exit);
}

async function printAdded(context: Context, image: Image): Promise<void> {
  if (context.json) return context.printJson(image);
  if (context.raw) return context.printLine(rawLine(image));
  await context.printLine(
    `${image.name}: ${formatSize(image.image.contentBytes)}, sha256:${image.image.sha256}`,
  );
}

function isImage(vdi: VdiInfo): vdi is Image {
  return vdi.image !== undefined;
}

async function list(context: Context): Promise<void> {
  const images = (await fetchVdis(context)).filter(isImage);
  images.sort((a, b) => (a.name < b.name ? -1 : 1));
  if (context.json) return context.printJson(images);
  if (context.raw) return context.print(images.map((image) => `${rawLine(image)}\n`).join(''));
  const width = Math.max(8, ...images.map(({ name }) => name.length));
  const row = ({ name, image, createdMs }: Image): string =>
    [
      name.padEnd(width),
      formatSize(image.contentBytes).padStart(7),
      formatMinute(createdMs),
      `${image.sha256}\n`,
    ].join('  ');
  const heading = `${'Name'.padEnd(width)}     Size  Added             SHA-256\n`;
  await context.print(heading + images.map(row).join(''));
}

function rawLine({ name, image, createdMs, vid }: Image): string {
  const escaped = name.replace(/[\s\\]/g, '\\$&');
  return `${escaped} ${image.contentBytes} ${image.sha256} ${Math.floor(createdMs / 1000)} ${vid.toString(16)}`;
}

async function find(context: Context, name: string): Promise<Image> {
  const vdi = await context.call('vdi.info', { name }).catch((error: unknown) => {
    if (!AppError.isCode(error, 'no-vdi')) throw error;
    throw new Exit(exitCodes.missing, `There is no image ${name}`, {
      hint: "'dog image list' shows the images there are.",
    });
  });
  if (isImage(vdi)) return vdi;
  throw new Exit(exitCodes.failure, `${name} is a volume, not an image`, {
    hint: "'dog vdi' has the commands for volumes.",
  });
}

async function info(context: Context, [name]: string[], options: { verify?: boolean }): Promise<void> {
  const image = await find(context, name!);
  const { contentBytes, sha256 } = image.image;
  if (options.verify === true) await verify(context, image);
  if (context.json) return context.printJson(image);
  if (context.raw) return context.printLine(rawLine(image));
  await context.print(
    formatFields([
      ['Name', image.name],
      ['Size', `${formatSize(contentBytes)} (${contentBytes} bytes)`],
      ['Used', formatSize(image.usedBytes)],
      ['SHA-256', sha256],
      ...(options.verify === true ? ([['Verified', 'yes']] as const) : []),
      ['Copies', String(image.copies)],
      ['VDI id', image.vid.toString(16)],
      ['Added', formatMinute(image.createdMs)],
    ]),
  );
}

async function verify(context: Context, { name, image }: Image): Promise<void> {
  const hash = createHash('sha256');
  const progress = await openProgress(context, `verifying ${name}`);
  try {
    let done = 0;
    for await (const part of readVersion(context, { name }, 0, image.contentBytes)) {
      hash.update(part);
      done += part.length;
      progress.update({ done, total: image.contentBytes, unit: 'bytes' });
    }
  } finally {
    progress.stop();
  }
  const sha256 = hash.digest('hex');
  if (sha256 === image.sha256) return;
  throw new Exit(exitCodes.failure, `Image ${name} has sha256:${sha256} instead of sha256:${image.sha256}`);
}

async function remove(context: Context, [name]: string[]): Promise<void> {
  await find(context, name!);
  const progress = await openProgress(context, `deleting ${name}`);
  const answer = await context
    .call('vdi.delete', { name: name! }, { onProgress: (p) => progress.update(p) })
    .catch((error: unknown) => {
      throw refusal(`Failed to delete image ${name}`, error);
    })
    .finally(() => progress.stop());
  if (context.json) await context.printJson(answer);
}
