import { test } from 'uvu';
import { canMakeHosts } from '../helpers/netns.js';
import { hasTool } from '../helpers/requires.js';

const TOOLS = ['ip', 'tc', 'nsenter', 'unshare', 'setpriv'];

/** `test`, or a skip by name where no hosts can be made, or a program of the run is missing. */
export function hostTest(name: string, run: () => Promise<void>, ...tools: string[]): void {
  const missing = [...TOOLS, ...tools].filter((tool) => !hasTool(tool));
  if (missing.length === 0 && !canMakeHosts()) missing.push('the right to make network namespaces');
  if (missing.length === 0) {
    test(name, run);
  } else {
    process.stderr.write(`skipped: ${name} (needs ${missing.join(', ')})\n`);
    test.skip(name, run);
  }
}
