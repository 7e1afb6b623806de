import { AppError } from '../base/errors.js';
import { refusalText, ToolError } from './tool-error.js';

/** Runs a tool to its end: what went wrong is said in its name, and the process gets its exit code. */
export async function endWith(tool: string, work: Promise<number>): Promise<void> {
  // The reader of a pipe may go away at any time.
  process.stdout.on('error', () => {});
  process.stderr.on('error', () => {});
  try {
    process.exitCode = await work;
  } catch (error) {
    if (!(error instanceof ToolError)) {
      // What a sheep refused where nothing more can be said of it, or a connection that broke in between.
      if (!(error instanceof AppError)) throw error;
      process.stderr.write(`${tool}: ${refusalText(error)}\n`);
      process.exitCode = 1;
      return;
    }
    if (error.message !== '') process.stderr.write(`${tool}: ${error.message}\n`);
    process.exitCode = error.exit;
  }
}
