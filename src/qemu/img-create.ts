import { type CommandLine, formatArguments, has, lastValue, type Option } from './arguments.js';
import {
  type CreateOptions,
  formattingLine,
  optionHelp,
  parseOptionLists,
  readCreateOptions,
} from './create-options.js';
import type { ImgRun } from './img-run.js';
import { formatKeyValues } from './key-values.js';
import { isImageName, parseImageName } from './name.js';
import { fillOrDrop, findBacking, makeVolume, parseName } from './new-volume.js';
import { parseSize } from './sizes.js';
import { ToolError } from './tool-error.js';

const SIZE_MAX_TEXT = '9223372036854775807';
const MIB = 1024 * 1024;

/** `qemu-img create`: a sheepdog volume, or a local image over one. */
export async function create(run: ImgRun, line: CommandLine): Promise<number> {
  const [file, sizeText, ...more] = line.operands;
  if (file === undefined || more.length > 0) return run.asItIs();
  const format = lastValue(line, 'f') ?? 'raw';
  if (!isImageName(file)) return overlay(run, line);
  const sizeBytes = sizeText === undefined ? undefined : sizeOperand(sizeText);
  const pairs = parseOptionLists(optionLists(line));
  if (format !== 'raw' && format !== 'sheepdog') return formatted(run, line, file, format, sizeBytes);
  if (pairs === 'help') {
    run.print(optionHelp);
    return 0;
  }
  return run.prefixed(`${file}: `, async () => {
    const options = await complete(run, line, file, readCreateOptions(pairs), sizeBytes);
    if (!has(line, 'q')) run.print(formattingLine(file, format, options));
    await makeVolume(run.session, parseName(file), options.sizeBytes!, options);
    return 0;
  });
}

export function optionLists(line: CommandLine): string[] {
  return line.options.filter(({ name }) => name === 'o').map(({ value }) => value!);
}

function sizeOperand(text: string): number {
  const bytes = parseSize(text);
  if (bytes === 'range') {
    throw new ToolError(`Invalid image size specified. Must be between 0 and ${SIZE_MAX_TEXT}.`);
  }
  if (bytes !== 'invalid') return bytes;
  throw new ToolError(
    'Invalid image size specified. You may use k, M, G, T, P or E suffixes for\n' +
      'qemu-img: kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.',
  );
}

/** Joins what may be said in two ways, and takes the size of the backing file when none is said. */
async function complete(
  run: ImgRun,
  line: CommandLine,
  file: string,
  given: CreateOptions,
  operandBytes: number | undefined,
): Promise<CreateOptions> {
  if (given.sizeBytes !== undefined && operandBytes !== undefined) {
    throw new ToolError('The image size must be specified only once');
  }
  const backingFile = lastValue(line, 'b') ?? given.backingFile;
  const backingFormat = lastValue(line, 'F') ?? given.backingFormat;
  if (backingFile === file) {
    throw new ToolError('Error: Trying to create an image with the same filename as the backing file');
  }
  if (backingFile === '') throw new ToolError('Expected backing file name, got empty string');
  let sizeBytes = operandBytes ?? given.sizeBytes;
  if (backingFile !== undefined && !has(line, 'u')) {
    const backing = await findBacking(run.session, backingFile).catch((error: unknown) => {
      if (!(error instanceof ToolError)) throw error;
      throw new ToolError(`${error.message}\nCould not open backing image.`, 1, { cause: error });
    });
    sizeBytes ??= backing.vdi.sizeBytes;
  }
  if (sizeBytes === undefined) throw new ToolError('Image creation needs a size parameter');
  return {
    ...given,
    sizeBytes,
    ...(backingFile !== undefined && { backingFile }),
    ...(backingFormat !== undefined && { backingFormat }),
  };
}

/**
 * An image of another format inside a volume: the volume gets the room that the format needs when it is full, and the
 * real tool writes the format into it.
 */
async function formatted(
  run: ImgRun,
  line: CommandLine,
  file: string,
  format: string,
  operandBytes: number | undefined,
): Promise<number> {
  const sizeBytes = operandBytes;
  if (sizeBytes === undefined) throw new ToolError(`${file}: Image creation needs a size parameter`);
  const roomBytes = await measure(run, format, ['--size', String(sizeBytes)]);
  const name = parseImageName(file);
  await run.prefixed(`${file}: `, () => makeVolume(run.session, name, roomBytes, {}));
  const options = await backingOptions(run, line);
  return fillOrDrop(run.session, name, async () => {
    const operands = [await target(run, file), String(sizeBytes)];
    return run.tool(['create', ...formatArguments({ options, operands })], 'edit');
  });
}

/** Bytes of room for an image in another format, when every part of it is written; and some for its growing tables. */
export async function measure(run: ImgRun, format: string, words: readonly string[]): Promise<number> {
  const { exit, output } = await run.session.run(
    ['measure', '-O', format, '--output=json', ...words],
    'take',
  );
  if (exit !== 0) throw new ToolError('', exit);
  return (JSON.parse(output) as { 'fully-allocated': number })['fully-allocated'] + MIB;
}

/** The volume as a URL: where the real tool makes an image itself, it takes no options in its place. */
export async function target(run: ImgRun, file: string): Promise<string> {
  const { volume } = await run.session.open(file);
  run.session.note(volume!.url, file, volume!);
  return volume!.url;
}

/** A local image: its backing file is written into it, so it gets a name that today's QEMU can open. */
async function overlay(run: ImgRun, line: CommandLine): Promise<number> {
  const options = await backingOptions(run, line);
  return run.tool(['create', ...formatArguments({ ...line, options })], 'edit');
}

/** All options, with sheepdog backing files as URLs of their NBD exports. */
export async function backingOptions(run: ImgRun, line: CommandLine): Promise<Option[]> {
  const options: Option[] = [];
  for (const { name, value } of line.options) {
    options.push({ name, value: await backingValue(run, name, value) });
  }
  return options;
}

async function backingValue(
  run: ImgRun,
  name: string,
  value: string | undefined,
): Promise<string | undefined> {
  if ((name === 'b' || name === 'B') && value !== undefined && isImageName(value)) return target(run, value);
  if (name === 'F' && value === 'sheepdog') return 'raw';
  if (name !== 'o' || value === undefined || !value.includes('sheepdog')) return value;
  const pairs = parseOptionLists([value]);
  if (pairs === 'help') return value;
  const replaced: [string, string][] = [];
  for (const [key, inner] of pairs) {
    const short = { backing_file: 'b', backing_fmt: 'F' }[key] ?? '';
    replaced.push([key, (await backingValue(run, short, inner)) ?? '']);
  }
  return formatKeyValues(replaced);
}
