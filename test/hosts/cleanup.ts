/** Removes namespaces, mounts and folders of runs that are dead, and ends what still runs in them. */
import { removeLeftovers } from '../helpers/netns-leftovers.js';

for (const name of removeLeftovers()) process.stdout.write(`removed ${name}\n`);
