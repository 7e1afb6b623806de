import { type CommandLine, has, lastValue } from './arguments.js';
import type { Session } from './session.js';
import { ToolError } from './tool-error.js';

/** One call of qemu-img, as its subcommands see it. */
export class ImgRun {
  constructor(
    readonly session: Session,
    /** What stood before the subcommand. */
    private readonly standard: readonly string[],
    /** All words, as they came. */
    private readonly argv: readonly string[],
  ) {}

  print(text: string): void {
    process.stdout.write(text);
  }

  /** Runs the real tool and returns its exit code. */
  async tool(words: readonly string[], output: 'pass' | 'edit'): Promise<number> {
    return (await this.session.run([...this.standard, ...words], output)).exit;
  }

  /** Leaves a wrong command line to the real tool, which says what is wrong with it, and does nothing. */
  async asItIs(): Promise<number> {
    return (await this.session.run(this.argv, 'pass')).exit;
  }

  /** What goes wrong inside is told behind a prefix. */
  async prefixed<T>(prefix: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof ToolError) || error.message === '') throw error;
      throw new ToolError(prefix + error.message, error.exit, { cause: error });
    }
  }
}

export function isQuiet(line: CommandLine): boolean {
  return has(line, 'q');
}

/** Options that say how an image is opened: the word is a list of options, its format is the driver itself. */
export function imageOptions(
  line: CommandLine,
  formatOption = 'f',
): { isOptions: boolean; isDriver: boolean } {
  return {
    isOptions: has(line, 'image-opts'),
    isDriver: lastValue(line, formatOption) === 'sheepdog',
  };
}
