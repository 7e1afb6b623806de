import { type CommandLine, formatArguments, has, type Option } from './arguments.js';
import { backingOptions } from './img-create.js';
import { type ImgRun, imageOptions } from './img-run.js';

/** Subcommands that are the real tool's alone: only the names of images are put in other terms. */
export interface PlainCommand {
  /** Options that say the format of the first, second, ... image. */
  readonly formats: readonly string[];
  /** Whether its standard output names images. */
  readonly output: 'pass' | 'edit';
  /** Whether -b names a backing file, and -F its format. */
  readonly backing?: boolean;
  /** Whether it writes to the image. */
  readonly writes?: (line: CommandLine) => boolean;
}

const always = (): boolean => true;

export const plainCommands: Readonly<Record<string, PlainCommand>> = {
  amend: { formats: ['f'], output: 'edit', writes: always },
  bench: { formats: ['f'], output: 'pass', writes: (line) => has(line, 'w') },
  // Its second operand is the name of a bitmap.
  bitmap: { formats: ['f', ''], output: 'pass', backing: true, writes: always },
  check: { formats: ['f'], output: 'edit', writes: (line) => has(line, 'r') },
  commit: { formats: ['f'], output: 'edit', backing: true, writes: always },
  compare: { formats: ['f', 'F'], output: 'pass' },
  map: { formats: ['f'], output: 'edit' },
  measure: { formats: ['f'], output: 'edit' },
  rebase: { formats: ['f'], output: 'pass', backing: true, writes: always },
};

export async function runPlain(
  run: ImgRun,
  name: string,
  command: PlainCommand,
  line: CommandLine,
): Promise<number> {
  // More operands than images, or fewer, is a mistake that the real tool tells before it opens anything.
  if (line.operands.length > command.formats.length) return run.asItIs();
  const operands: string[] = [];
  for (const [index, operand] of line.operands.entries()) {
    const isForWriting = command.writes?.(line) === true;
    const options = { ...imageOptions(line, command.formats[index]), isForWriting };
    operands.push((await run.session.open(operand, options)).word);
  }
  const options = withoutDriver(line.options, command.formats);
  const own = command.backing === true ? await backingOptions(run, { options, operands }) : options;
  return run.tool([name, ...formatArguments({ options: own, operands })], command.output);
}

/** The driver "sheepdog" is said by the image's options already. */
function withoutDriver(options: readonly Option[], formats: readonly string[]): Option[] {
  return options.filter(({ name, value }) => !(formats.includes(name) && value === 'sheepdog'));
}
