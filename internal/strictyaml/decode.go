package strictyaml

import (
	"fmt"
	"reflect"

	"go.yaml.in/yaml/v3"
)

// Decode reads the value into the struct that into points to, by its yaml tags.
// Keys that are absent or have no value leave the struct unchanged; a field
// with the tag "-" is not read. Fields can be text, whole numbers, true or
// false, structs, lists, and maps with text as keys; a map of any takes every
// value. Decode panics if a field has another type.
func (v Value) Decode(into any) { v.decode(reflect.ValueOf(into).Elem()) }

func (v Value) decode(to reflect.Value) {
	if v.IsNull() {
		return
	}
	switch to.Kind() {
	case reflect.Struct:
		table := map[string]Field{}
		for i := range to.NumField() {
			if name := to.Type().Field(i).Tag.Get("yaml"); name != "-" {
				table[name] = Field{Take: func(val Value) { val.decode(to.Field(i)) }}
			}
		}
		v.Fields(table)
	case reflect.Slice:
		out := reflect.MakeSlice(to.Type(), v.Len(), v.Len())
		if v.Items(func(i int, item Value) {
			if item.IsNull() {
				item.Add("the item is empty")
				return
			}
			item.decode(out.Index(i))
		}) {
			to.Set(out)
		}
	case reflect.Map:
		out := reflect.MakeMap(to.Type())
		if v.Pairs(func(key string, val Value) {
			item := reflect.New(to.Type().Elem()).Elem()
			val.decode(item)
			out.SetMapIndex(reflect.ValueOf(key), item)
		}) {
			to.Set(out)
		}
	case reflect.Interface:
		if x := v.any(); x != nil {
			to.Set(reflect.ValueOf(x))
		}
	case reflect.String:
		if s, ok := v.Text(); ok {
			to.SetString(s)
		}
	case reflect.Int:
		if i, ok := v.Int(); ok {
			to.SetInt(int64(i))
		}
	case reflect.Bool:
		if b, ok := v.Bool(); ok {
			to.SetBool(b)
		}
	default:
		panic(fmt.Sprintf("strictyaml: a field of kind %s at %s", to.Kind(), v.Path))
	}
}

// any reads a value whose form is not known, and still refuses keys given twice.
func (v Value) any() any {
	n := v.target()
	switch n.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		v.Pairs(func(key string, val Value) { out[key] = val.any() })
		return out
	case yaml.SequenceNode:
		out := []any{}
		v.Items(func(_ int, item Value) { out = append(out, item.any()) })
		return out
	}
	var x any
	if err := n.Decode(&x); err != nil {
		v.Add("not a value of the type that its tag names")
		return nil
	}
	return x
}
