import { LabIcon } from '@jupyterlab/ui-components';
import inference from '../../style/icons/inference.svg';
import { NAMESPACE } from '../tokens';

export const inferenceIcon = new LabIcon({ name: `${NAMESPACE}:inference`, svgstr: inference });
