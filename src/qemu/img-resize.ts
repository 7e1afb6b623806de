import { vdiBytesMax } from '../wire/sheepdog.js';
import { type CommandLine, formatArguments, has, lastValue } from './arguments.js';
import { type ImgRun, imageOptions, isQuiet } from './img-run.js';
import type { Volume } from './session.js';
import { parseSize } from './sizes.js';
import { refusalText, ToolError } from './tool-error.js';

const preallocations = ['off', 'metadata', 'falloc', 'full'];
const ZEROS_BYTES = 4 * 1024 * 1024;

/** `resize`: volumes grow; QEMU's driver never shrank them, and neither do we. */
export async function resize(run: ImgRun, line: CommandLine): Promise<number> {
  const [file, size] = line.operands;
  if (file === undefined || size === undefined || line.operands.length > 2) return run.asItIs();
  const preallocation = lastValue(line, 'preallocation') ?? 'off';
  if (!preallocations.includes(preallocation)) {
    throw new ToolError(`Invalid preallocation mode '${preallocation}'`);
  }
  const { sign, bytes } = parseChange(size);
  const image = await run.session.open(file, { ...imageOptions(line), isForWriting: true });
  const format = lastValue(line, 'f') ?? 'raw';
  if (image.volume === undefined || (format !== 'raw' && format !== 'sheepdog')) {
    const operands = [image.word, size];
    return run.tool(['resize', ...formatArguments({ ...line, operands })], 'edit');
  }
  const { vdi } = image.volume;
  const wantedBytes = sign === 0 ? bytes : vdi.sizeBytes + sign * bytes;
  checkChange(line, vdi.sizeBytes, wantedBytes, preallocation);
  if (vdi.snapshot) throw new ToolError('Image is read-only');
  if (wantedBytes > vdiBytesMax(vdi.blockSizeShift)) throw new ToolError('too big image size');
  await grow(image.volume, wantedBytes, preallocation === 'full');
  if (!isQuiet(line)) run.print('Image resized.\n');
  return 0;
}

function parseChange(text: string): { sign: -1 | 0 | 1; bytes: number } {
  const sign = text.startsWith('+') ? 1 : text.startsWith('-') ? -1 : 0;
  const bytes = parseSize(sign === 0 ? text : text.slice(1));
  if (typeof bytes === 'number') return { sign, bytes };
  throw new ToolError(
    "Parameter 'size' expects a non-negative number below 2^64\n" +
      'Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n' +
      'and exabytes, respectively.',
  );
}

function checkChange(line: CommandLine, nowBytes: number, wantedBytes: number, preallocation: string): void {
  if (wantedBytes <= 0) throw new ToolError('New image size must be positive');
  if (wantedBytes <= nowBytes && preallocation !== 'off') {
    throw new ToolError('Preallocation can only be used for growing images');
  }
  if (wantedBytes < nowBytes && !has(line, 'shrink')) {
    throw new ToolError(
      'Use the --shrink option to perform a shrink operation.\n' +
        "qemu-img: warning: Shrinking an image will delete all data beyond the shrunken image's end. " +
        'Before performing such an operation, make sure there is no important data there.',
    );
  }
  if (wantedBytes < nowBytes) throw new ToolError('shrinking is not supported');
  if (preallocation !== 'off' && preallocation !== 'full') {
    throw new ToolError(`Unsupported preallocation mode '${preallocation}'`);
  }
}

async function grow({ vdi, sheep }: Volume, wantedBytes: number, preallocate: boolean): Promise<void> {
  try {
    await sheep.call('vdi.resize', { name: vdi.name, sizeBytes: wantedBytes });
    if (!preallocate) return;
    for (let offset = vdi.sizeBytes; offset < wantedBytes; offset += ZEROS_BYTES) {
      const length = Math.min(ZEROS_BYTES, wantedBytes - offset);
      await sheep.write(vdi.name, offset, Buffer.alloc(length));
    }
  } catch (error) {
    throw new ToolError(`failed to update an inode: ${refusalText(error)}`, 1, { cause: error });
  }
}
