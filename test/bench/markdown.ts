/** Tables that read well as text, too: columns are padded. */

/** A titled table: the first column is text, the others are figures. */
export function table(title: string, columns: readonly string[], lines: readonly string[][]): string {
  const rows = [['', ...columns], ...lines];
  const widths = rows[0]!.map((_, column) => Math.max(3, ...rows.map((row) => row[column]!.length)));
  const text = rows.map((row) => `| ${row.map((cell, i) => pad(cell, widths[i]!, i)).join(' | ')} |`);
  const dashes = widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  const rule = `| ${dashes.join(' | ')} |`;
  return [`### ${title}`, '', text[0], rule, ...text.slice(1)].join('\n');
}

function pad(cell: string, width: number, column: number): string {
  return column === 0 ? cell.padEnd(width) : cell.padStart(width);
}
