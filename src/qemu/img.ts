import { type CommandLine, parseArguments, type Syntax } from './arguments.js';
import { convert, dd } from './img-copy.js';
import { create } from './img-create.js';
import { info } from './img-info.js';
import { plainCommands, runPlain } from './img-plain.js';
import { resize } from './img-resize.js';
import { ImgRun } from './img-run.js';
import { snapshot } from './img-snapshot.js';
import { Session } from './session.js';
import { imgStandardSyntax, imgSyntax } from './syntax.js';

/**
 * qemu-img for sheepdog: names. Subcommands that make or change volumes talk to a sheep; whatever reads or writes data
 * is the host's own qemu-img on the NBD door, with its exit codes, its progress and its texts.
 */
export const TOOL = 'qemu-img';

type Command = (run: ImgRun, line: CommandLine) => Promise<number>;

const commands: Readonly<Record<string, Command>> = { convert, create, dd, info, resize, snapshot };

/** Runs one command line (without the program's name) and returns its exit code. Rejects with ToolError. */
export async function runImg(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  const session = new Session(TOOL, env);
  try {
    const at = subcommandAt(argv);
    const run = new ImgRun(session, argv.slice(0, at), argv);
    const name = argv[at] ?? '';
    const syntax = Object.hasOwn(imgSyntax, name) ? imgSyntax[name] : undefined;
    const line = syntax === undefined ? undefined : parseLine(name, syntax, argv.slice(at + 1));
    if (line === undefined || line.options.some((option) => option.name === 'h')) return await run.asItIs();
    session.tlsCreds = tlsCredentials(line);
    const command = commands[name];
    return await (command === undefined
      ? runPlain(run, name, plainCommands[name]!, line)
      : command(run, line));
  } finally {
    await session.close();
  }
}

function subcommandAt(argv: readonly string[]): number {
  for (let at = 0; at < argv.length; at++) {
    if (!argv[at]!.startsWith('-')) return at;
    if (/^(-T|--t[race]*)$/.test(argv[at]!)) at++;
    else if (parseArguments(imgStandardSyntax, [argv[at]!]) === undefined) break;
  }
  return argv.length;
}

/** The size of `resize` may begin with a minus: as in QEMU, it is taken from the end first. */
function parseLine(name: string, syntax: Syntax, words: readonly string[]): CommandLine | undefined {
  if (name !== 'resize') return parseArguments(syntax, words);
  const line = parseArguments(syntax, words.slice(0, -1));
  return line && { ...line, operands: [...line.operands, ...words.slice(-1)] };
}

function tlsCredentials(line: CommandLine): string | undefined {
  const object = line.options.findLast(
    ({ name, value }) => name === 'object' && value?.startsWith('tls-creds') === true,
  );
  return object === undefined ? undefined : /(?:^|,)id=([^,]+)/.exec(object.value!)?.[1];
}
