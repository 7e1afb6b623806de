#!/usr/bin/env node
import { runAny, TOOL } from './any-tool.js';
import { endWith } from './run-tool.js';

/** `sheepdog-qemu`: joins the process to the tool, nothing else. */
await endWith(TOOL, runAny(process.argv.slice(2), process.env));
