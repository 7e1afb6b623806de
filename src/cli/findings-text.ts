import type { Finding } from '../control/doctor-api.js';
import { wrap } from './wrap.js';

/** Findings as people read them: what, and under it the next step. */

const WIDTH = 100;
const INDENT = '        ';

export function findingText({ severity, text, next, otherwise }: Finding): string {
  const lines = [wrap(text, WIDTH, severity.padEnd(INDENT.length), INDENT)];
  if (next !== undefined) lines.push(step('Next: ', next));
  if (otherwise !== undefined) lines.push(step('Or:   ', otherwise));
  return lines.join('\n');
}

/** One line for programs. */
export function findingRow({ severity, rule, text }: Finding): string {
  return `${severity} ${rule} ${text}`;
}

function step(word: string, { command, effect }: { command: string; effect: string }): string {
  const deeper = `${INDENT}${' '.repeat(word.length)}`;
  return `${INDENT}${word}${command}\n${wrap(effect, WIDTH, deeper, deeper)}`;
}
