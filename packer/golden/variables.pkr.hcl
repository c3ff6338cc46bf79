variable "felhom_golden" {
  type        = string
  default     = "felhom-golden"
  description = "The felhom-golden program: a name in PATH, or a path."
}

variable "recipe" {
  type        = string
  default     = ""
  description = "golden.yaml to stage by. Empty: the built-in recipe (felhom-golden build --print-recipe)."
}

variable "bootstrap" {
  type        = string
  default     = ""
  description = "The felhom-controller-bootstrap program to bake in. Empty: the one beside felhom-golden."
}

variable "vmid" {
  type        = number
  default     = 9100
  description = "Guest number in the archive's name, 100 to 999999999."
  validation {
    condition     = var.vmid >= 100 && var.vmid <= 999999999
    error_message = "The vmid must be from 100 to 999999999."
  }
}

variable "scripts" {
  type        = list(string)
  default     = []
  description = "More scripts to run inside the image, after those in scripts/."
}

variable "script_env" {
  type        = list(string)
  default     = []
  description = "Variables for the scripts, each NAME=value."
}

variable "work_dir" {
  type        = string
  default     = "/var/tmp/felhom-golden-packer"
  description = "Directory for the staged root. It is removed before and after a build."
}

variable "output_dir" {
  type        = string
  default     = "output-golden"
  description = "Directory for the archive, its checksum and the manifest."
}
