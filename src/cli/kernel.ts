import { installKernel, listKernels, uninstallKernel } from '../kernel/kernelspec.js';
import { UsageError, type Command } from './command.js';

const command: Command = {
  name: 'kernel',
  summary: 'Installs the TypeScript kernel for Jupyter, removes it, or lists kernels. Needs no Python.',
  usage: 'install|uninstall|list',
  options: {
    prefix: { type: 'string', help: 'an environment such as a virtualenv, instead of the user\'s own folder' },
    json: { type: 'boolean', help: 'list: print JSON' },
  },
  async run({ positionals: [verb, ...more], values }) {
    const prefix = typeof values.prefix === 'string' ? values.prefix : undefined;
    if (more.length > 0) throw new UsageError('kernel takes one of install, uninstall, list.');
    if (verb === 'install') {
      console.log(`Installed in ${installKernel(prefix)}. Front ends show it as "DreamLLM (TypeScript)"; it stays bound to this folder and this Node.`);
    } else if (verb === 'uninstall') {
      const folder = uninstallKernel(prefix);
      if (!folder) throw new UsageError('The kernel is not installed there.');
      console.log(`Removed ${folder}.`);
    } else if (verb === 'list') {
      const kernels = listKernels(prefix);
      if (values.json === true) console.log(JSON.stringify(kernels, null, 2));
      else for (const { name, displayName, folder, works } of kernels) console.log(`${name.padEnd(12)} ${displayName.padEnd(24)} ${folder}${works ? '' : '  (its program is missing)'}`);
      if (kernels.length === 0 && values.json !== true) console.log('No kernels are installed.');
    } else throw new UsageError(`kernel: expected install, uninstall or list, found "${verb ?? ''}".`);
  },
};

export default command;
