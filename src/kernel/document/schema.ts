import { Ajv } from 'ajv';

/**
 * Notebook format 4.5 as a JSON schema, written from its documentation
 * (https://nbformat.readthedocs.io/en/latest/format_description.html).
 */
const text = { anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' } }] };
const object = { type: 'object' };
const bundle = { type: 'object', patternProperties: { '^application/(.*\\+)?json$': {} }, additionalProperties: text };
const count = { type: ['integer', 'null'], minimum: 0 };

const closed = (properties: Record<string, object>) => ({ type: 'object', required: Object.keys(properties), properties, additionalProperties: false });

const output = {
  type: 'object',
  required: ['output_type'],
  discriminator: { propertyName: 'output_type' },
  oneOf: [
    closed({ output_type: { const: 'stream' }, name: { type: 'string' }, text }),
    closed({ output_type: { const: 'display_data' }, data: bundle, metadata: object }),
    closed({ output_type: { const: 'execute_result' }, data: bundle, metadata: object, execution_count: count }),
    closed({ output_type: { const: 'error' }, ename: { type: 'string' }, evalue: { type: 'string' }, traceback: { type: 'array', items: { type: 'string' } } }),
  ],
};

const common = {
  id: { type: 'string', pattern: '^[a-zA-Z0-9_-]{1,64}$' },
  metadata: {
    type: 'object',
    properties: {
      tags: { type: 'array', uniqueItems: true, items: { type: 'string', pattern: '^[^,]+$' } },
      name: { type: 'string', minLength: 1 },
    },
  },
  source: text,
};
const attachments = { type: 'object', additionalProperties: bundle };
const withAttachments = (type: string) => {
  const cell = closed({ ...common, cell_type: { const: type } });
  return { ...cell, properties: { ...cell.properties, attachments } };
};

const notebook = closed({
  nbformat: { const: 4 },
  nbformat_minor: { type: 'integer', minimum: 5 },
  metadata: {
    type: 'object',
    properties: {
      kernelspec: { type: 'object', required: ['name', 'display_name'], properties: { name: { type: 'string' }, display_name: { type: 'string' } } },
      language_info: { type: 'object', required: ['name'], properties: { name: { type: 'string' } } },
    },
  },
  cells: {
    type: 'array',
    items: {
      type: 'object',
      required: ['cell_type'],
      discriminator: { propertyName: 'cell_type' },
      oneOf: [closed({ ...common, cell_type: { const: 'code' }, outputs: { type: 'array', items: output }, execution_count: count }), withAttachments('markdown'), withAttachments('raw')],
    },
  },
});

const validate = new Ajv({ discriminator: true, allErrors: true, allowUnionTypes: true }).compile(notebook);

/** What keeps `value` from being a notebook of format 4.5, in words. Cells are also unique by their id. */
export function faultsOf(value: unknown): string[] {
  if (!validate(value)) return (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath || 'the notebook'} ${message}`);
  const ids = (value as { cells: { id: string }[] }).cells.map(({ id }) => id);
  return ids.filter((id, i) => ids.indexOf(id) !== i).map((id) => `the cell id "${id}" is used twice`);
}
