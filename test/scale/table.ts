/** The report goes to standard output, as Markdown. */

export const out = (line = ''): void => void process.stdout.write(`${line}\n`);

export function table(header: readonly string[], rows: readonly (readonly (string | number)[])[]): void {
  out(`| ${header.join(' | ')} |`);
  out(`| ${header.map(() => '---').join(' | ')} |`);
  for (const row of rows) out(`| ${row.join(' | ')} |`);
  out();
}
