import { type CommandLine, formatArguments, has, lastValue, type Option, without } from './arguments.js';
import { type CreateOptions, optionHelp, parseOptionLists, readCreateOptions } from './create-options.js';
import { backingOptions, measure, optionLists, target } from './img-create.js';
import type { ImgRun } from './img-run.js';
import { parseKeyValues } from './key-values.js';
import { type ImageName, isImageName, parseImageName } from './name.js';
import { fillOrDrop, makeVolume, parseName } from './new-volume.js';
import { parseSize } from './sizes.js';
import { ToolError } from './tool-error.js';

/** `convert` and `dd`: commands that fill a new image from others. */

export async function convert(run: ImgRun, line: CommandLine): Promise<number> {
  if (line.operands.length < 2) return run.asItIs();
  const file = line.operands.at(-1)!;
  const isNew = !has(line, 'n') && isImageName(file);
  if (isNew && parseOptionLists(optionLists(line)) === 'help') {
    run.print(optionHelp);
    return 0;
  }
  const { words, rest } = await openSources(run, line);
  if (!isNew) return intoExisting(run, rest, words, file);
  const format = lastValue(line, 'O') ?? 'raw';
  if (format !== 'raw' && format !== 'sheepdog') return intoFormat(run, rest, words, file, format);
  return intoVolume(run, rest, words, file, format);
}

/** What the real tool gets for the sources, and the options that are left for it. */
async function openSources(run: ImgRun, line: CommandLine): Promise<{ words: string[]; rest: CommandLine }> {
  const sources = line.operands.slice(0, -1);
  const wanted = lastValue(line, 'l');
  if (wanted !== undefined && sources.length === 1 && isImageName(sources[0]!)) {
    const { word } = await run.session.openName(sources[0]!, await snapshotName(run, sources[0]!, wanted));
    return { words: [word], rest: without(line, 'l') };
  }
  const words: string[] = [];
  for (const source of sources) words.push(await openSource(run, line, source));
  return { words, rest: line };
}

/** -l names a snapshot of the source, by id, tag or `snapshot.id=,snapshot.name=`; of a volume, it is another name. */
async function snapshotName(run: ImgRun, source: string, wanted: string): Promise<ImageName> {
  const pairs = wanted.includes('=') ? new Map(parseKeyValues(wanted)) : undefined;
  const id = pairs === undefined ? wanted : pairs.get('snapshot.id');
  const tag = pairs === undefined ? wanted : pairs.get('snapshot.name');
  const name = parseName(source);
  const rows = await (await run.session.connect(name)).snapshots(name.vdi);
  const found = rows.find((row) => row.tag === tag || String(row.snapId) === id);
  if (found === undefined) throw new ToolError("Failed to load snapshot: Can't find snapshot");
  return { ...name, tag: '', snapId: found.snapId };
}

async function openSource(run: ImgRun, line: CommandLine, source: string): Promise<string> {
  const isOptions = has(line, 'image-opts');
  return (await run.session.open(source, { isOptions, isDriver: lastValue(line, 'f') === 'sheepdog' })).word;
}

async function intoExisting(
  run: ImgRun,
  line: CommandLine,
  words: readonly string[],
  file: string,
): Promise<number> {
  const isOptions = has(line, 'target-image-opts');
  const { word } = await run.session.open(file, { isOptions, isForWriting: true });
  // What was said to be of the driver "sheepdog" is raw data.
  const options = (await backingOptions(run, withoutDriver(line))).map((option) =>
    option.name === 'O' && option.value === 'sheepdog' ? { name: 'O', value: 'raw' } : option,
  );
  return run.tool(['convert', ...formatArguments({ options, operands: [...words, word] })], 'pass');
}

function withoutDriver(line: CommandLine): CommandLine {
  return lastValue(line, 'f') === 'sheepdog' ? without(line, 'f') : line;
}

async function intoVolume(
  run: ImgRun,
  line: CommandLine,
  words: readonly string[],
  file: string,
  format: string,
): Promise<number> {
  const prefix = `${file}: error while converting ${format}: `;
  const name = await run.prefixed(prefix, async () => parseName(file));
  const options = readTargetOptions(line);
  const sizeBytes = options.sizeBytes ?? (await virtualBytes(run, line, words));
  await run.prefixed(prefix, () => makeVolume(run.session, name, sizeBytes, options));
  return fillOrDrop(run.session, name, async () => {
    const { word } = await run.session.open(file);
    const kept = without(withoutDriver(line), 'o', 'B', 'F', 'O', 'n', 'target-is-zero');
    // A clone already holds its backing file's data, so zeros count; of a new volume everything is zero.
    const isZero = options.backingFile === undefined;
    const own: Option[] = [
      { name: 'n', value: undefined },
      { name: 'O', value: 'raw' },
      ...(isZero ? [{ name: 'target-is-zero', value: undefined }] : []),
    ];
    const copy = { options: [...kept.options, ...own], operands: [...words, word] };
    return run.tool(['convert', ...formatArguments(copy)], 'pass');
  });
}

function readTargetOptions(line: CommandLine): CreateOptions {
  const pairs = parseOptionLists(optionLists(line));
  const options = readCreateOptions(pairs === 'help' ? [] : pairs);
  const backingFile = lastValue(line, 'B') ?? options.backingFile;
  const backingFormat = lastValue(line, 'F') ?? options.backingFormat;
  return {
    ...options,
    ...(backingFile !== undefined && { backingFile }),
    ...(backingFormat !== undefined && { backingFormat }),
  };
}

/** Of all sources together, as they are put one after another. Rejects when one cannot be opened. */
async function virtualBytes(run: ImgRun, line: CommandLine, words: readonly string[]): Promise<number> {
  let sumBytes = 0;
  const how = sourceOptions(line);
  for (const word of words) {
    const { exit, output } = await run.session.run(['info', '--output=json', ...how, '--', word], 'take');
    if (exit !== 0) throw new ToolError('', exit);
    sumBytes += (JSON.parse(output) as { 'virtual-size': number })['virtual-size'];
  }
  return sumBytes;
}

/** The options that say how a source is opened. */
function sourceOptions(line: CommandLine): string[] {
  const names = new Set(['f', 'U', 'object', 'image-opts']);
  const options = withoutDriver(line).options.filter(({ name }) => names.has(name));
  return formatArguments({ options, operands: [] }).slice(0, -1);
}

/** An image of another format inside a new volume. */
async function intoFormat(
  run: ImgRun,
  line: CommandLine,
  words: readonly string[],
  file: string,
  format: string,
): Promise<number> {
  const prefix = `${file}: error while converting ${format}: `;
  if (words.length > 1)
    throw new ToolError(`${prefix}only one source can be put into a volume in this format`);
  const name = parseImageName(file);
  const roomBytes = await measure(run, format, [...sourceOptions(line), '--', words[0]!]);
  await run.prefixed(prefix, () => makeVolume(run.session, name, roomBytes, {}));
  return fillOrDrop(run.session, name, async () => {
    const options = await backingOptions(run, withoutDriver(line));
    const operands = [...words, await target(run, file)];
    return run.tool(['convert', ...formatArguments({ options, operands })], 'pass');
  });
}

export async function dd(run: ImgRun, line: CommandLine): Promise<number> {
  const fields = new Map(line.operands.map((word) => word.split(/=(.*)/s, 2) as [string, string]));
  const [from, to] = [fields.get('if'), fields.get('of')];
  const known = ['if', 'of', 'bs', 'count', 'skip'];
  if (from === undefined || to === undefined || [...fields.keys()].some((key) => !known.includes(key))) {
    return run.asItIs();
  }
  fields.set('if', await openSource(run, line, from));
  const format = lastValue(line, 'O') ?? 'raw';
  const options = withoutDriver(line).options.map((option) =>
    option.name === 'O' && option.value === 'sheepdog' ? { name: 'O', value: 'raw' } : option,
  );
  const copy = (): Promise<number> => {
    const operands = [...fields].map(([key, value]) => `${key}=${value}`);
    return run.tool(['dd', ...formatArguments({ options, operands })], 'pass');
  };
  if (!isImageName(to)) return copy();
  const name = await run.prefixed(`${to}: error while creating output image: `, async () => {
    if (format !== 'raw' && format !== 'sheepdog') throw new ToolError('only raw data can be put there');
    const made = parseName(to);
    await makeVolume(run.session, made, await ddBytes(run, line, fields), {});
    return made;
  });
  return fillOrDrop(run.session, name, async () => {
    fields.set('of', await target(run, to));
    return copy();
  });
}

/** How much the real tool is going to write. */
async function ddBytes(run: ImgRun, line: CommandLine, fields: ReadonlyMap<string, string>): Promise<number> {
  const number = (key: string, fallback: number): number => {
    const text = fields.get(key);
    if (text === undefined) return fallback;
    const value = parseSize(text);
    if (typeof value !== 'number') throw new ToolError(`invalid number: '${text}'`);
    return value;
  };
  const blockBytes = number('bs', 512);
  const sourceBytes = await virtualBytes(run, line, [fields.get('if')!]);
  const readBytes = Math.min(sourceBytes, number('count', Number.POSITIVE_INFINITY) * blockBytes);
  return Math.max(0, readBytes - Math.min(readBytes, number('skip', 0) * blockBytes));
}
