/** Progress goes to standard error: standard output is the report. */
export function say(line: string): void {
  process.stderr.write(`bench: ${line}\n`);
}
